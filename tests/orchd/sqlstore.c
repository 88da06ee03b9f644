#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/util.h"
#include "proto/objects.h"
#include "tests/orchd/sqlstore.h"

char dir[64];
char path[96];
sqlite3 *db;
sqlite3_stmt *stmt[STMT_MAX + 1];
long blocks;
struct err e;

void
fresh(void)
{
	faulty_set(NULL, 0, 0);
	memset(&e, 0, sizeof(e));
	(void)snprintf(dir, sizeof(dir), "/tmp/sql-XXXXXX");
	t_true(mkdtemp(dir) != NULL);
	(void)snprintf(path, sizeof(path), "%s/store.db", dir);
}

void
clean(void)
{
	static const char *const ends[] = { "", "-wal", "-shm", "-link" };
	char name[128];
	size_t i;

	for (i = 0; i < nitems(ends); i++) {
		(void)snprintf(name, sizeof(name), "%s%s", path, ends[i]);
		(void)unlink(name);
	}
	(void)rmdir(dir);
}

void
begin_empty(void)
{
	fresh();
	blocks = t_live();
	t_eq(sql_open(path, false, &db, &e), 0);
	t_eq(e.code, 0);
}

void
begin(void)
{
	begin_empty();
	t_eq(sql_migrate(db, &e), 0);
	memset(stmt, 0, sizeof(stmt));
	t_eq(sql_prepare(db, stmt, &e), 0);
	t_eq(e.code, 0);
	execs[0] = '\0';
	steps = 0;
}

void
end(void)
{
	sql_finalize(stmt, STMT_MAX);
	t_true(sqlite3_next_stmt(db, NULL) == NULL);
	t_eq(sqlite3_close(db), SQLITE_OK);
	t_eq(t_live(), blocks);
	clean();
}

const char *
value(const char *question)
{
	static char text[128];
	sqlite3_stmt *st = NULL;

	text[0] = '\0';
	t_eq(sqlite3_prepare_v2(db, question, -1, &st, NULL), SQLITE_OK);
	if (sqlite3_step(st) == SQLITE_ROW)
		(void)snprintf(text, sizeof(text), "%s",
		    (const char *)sqlite3_column_text(st, 0));
	(void)sqlite3_finalize(st);
	return text;
}

void
sql(const char *text)
{
	t_eq(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
}

struct vm_row
row_of(uint64_t vmid, int64_t id, const char *name)
{
	struct vm_row row = { .vmid = vmid,
		.tenant = 1,
		.id = id,
		.slot = (uint32_t)vmid,
		.ipv4 = (uint32_t)vmid,
		.mac = { 2, 1, 1, 1, 1, (uint8_t)vmid },
		.created_ns = 1,
		.updated_ns = 2,
		.state = VM_STATUS_PENDING,
		.request = { "secret", 6, 1 } };

	(void)snprintf(row.name, sizeof(row.name), "%s", name);
	return row;
}

void
is_ready(sqlite3_stmt *st)
{
	char *text = sqlite3_expanded_sql(st);
	const char *sql_of = sqlite3_sql(st);

	t_true(!sqlite3_stmt_busy(st));
	t_true(text != NULL);
	if (text == NULL)
		return;
	t_true(strstr(text, "NULL") != NULL);
	t_true(strstr(text, "secret") == NULL);
	t_true(strchr(sql_of, ':') != NULL && strchr(text, ':') == NULL);
	t_true(strchr(text, '7') == NULL);
	sqlite3_free(text);
}

int
put_event(uint64_t seq)
{
	const struct event_row row = {
		.tenant = 1, .seq = seq, .at_ns = 1, .body = { "e", 1, 1 }
	};

	steps = 0;
	return sql_event(stmt, &row);
}
