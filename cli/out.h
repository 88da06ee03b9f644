#ifndef MEWS_CLI_OUT_H
#define MEWS_CLI_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct cli;
struct err;
struct objs;
struct table;
struct vm_view;

/*
 * What goes to stdout.  Everything here is safe for a terminal, whatever
 * the API said: cells and lines are escaped (esc.h), JSON stays JSON.
 */
#define OUT_CELL_MAX 512

/*
 * Standard output and error are written here and by a session alone,
 * and the first write that fails is remembered: no command's end can miss
 * it.  out_begin() is called once, before anything is printed.
 */
int out_begin(void); /* 0 or -ENOMEM */
int out_flush(void); /* 0, or as out_lost() */
/* What was not written, as a negative errno; 0 while all was. */
int out_lost(void);
const char *out_lost_name(void); /* "standard output", "standard error" */
void out_lose(int fd, int code); /* a write elsewhere failed */
/* Bytes as they are, behind what was printed.  As out_flush(). */
int out_bytes(const void *p, size_t len);

/* A table of text; cells are escaped and cut. */
struct out_table;
struct out_table *out_table_new(FILE *to, const char *const *heads, size_t n);
int out_table_row(struct out_table *t, const char *const *cells, size_t n);
int out_table_print(struct out_table *t); /* 0 or -ENOMEM */
void out_table_free(struct out_table *t);

/* `mews ps`.  now is in ns since 1970. */
int out_ps(FILE *to, const struct vm_view *vms, size_t n, int64_t now);

/* JSON text as it came, laid out for people; -EBADMSG with e if it is none. */
int out_json(FILE *to, const char *text, size_t len, struct err *e);
/* Objects of that table, laid out likewise: a list, or the one.  0, or
 * -EMSGSIZE, -ENOMEM with e. */
int out_objs(
    FILE *to, const struct table *t, const struct objs *list, struct err *e);
int out_obj(FILE *to, const struct table *t, const void *obj, struct err *e);
/* One line of JSON that we made. */
void out_json_line(FILE *to, const char *text, size_t len);
/* {"name": name, "ok": ok, "error": error or left out} */
void out_result(FILE *to, const char *name, bool ok, const char *error);
/* A line of text. */
void out_line(FILE *to, const char *text);

#endif
