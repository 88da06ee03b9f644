#ifndef MEWS_AGENT_CONSOLE_H
#define MEWS_AGENT_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * What the agent says to a person.  A terminal may be stopped for ever, by
 * whoever sits at it or by the workload, and pid 1 waits for none: its lines
 * go into a pipe that does not block (descriptor 2), from there into a bounded
 * place, and as far as the console takes them out of that.  What does not fit
 * is lost, and how many lines that were is said when it goes on.
 */
#define CONSOLE_HELD 8192 /* bytes that wait for the console */

/* Descriptors 0 and 1 become /dev/null, 2 the pipe.  Needs no /dev for 2;
 * lines are held until console_open(). */
void console_init(void);
/* path: the console, once it is there. */
void console_open(const char *path);
/* The loop is there: from now on it carries on by itself. */
void console_watch(void);
/* A line of somebody else's, with its line feed: whole, or lost; on its way
 * with the next console_carry_on(). */
void console_put(const char *line, size_t len);
void console_carry_on(void);
/* False: who puts more of that now takes the agent's own words their place.  A
 * console that is not there, or was hung up, has room: all is lost there. */
bool console_has_room(size_t len);
/* fn is called once, when the console takes more; one at a time. */
void console_want_room(void (*fn)(void));
/* As much as goes now; before an end of everything. */
void console_flush(void);

#endif
