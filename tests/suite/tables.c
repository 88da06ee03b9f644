/*
 * Prints the API's tables (proto/objects.c), for tests in Python
 * (tests/suite/wire.py): what of a field its bytes on a channel depend on.
 */
#include <stdio.h>

#include "proto/objects.h"
#include "proto/table.h"

static const char *const types[] = {
	[FT_BOOL] = "bool",
	[FT_INT] = "int",
	[FT_ENUM] = "enum",
	[FT_ENUMSET] = "enumset",
	[FT_STR] = "str",
	[FT_STRS] = "strs",
	[FT_OBJ] = "obj",
	[FT_OBJS] = "objs",
	[FT_TIME] = "time",
	[FT_UID] = "uid",
	[FT_HEX] = "hex",
};

static void
print_field(const struct field *f)
{
	const char *const *n;

	printf("{\"name\":\"%s\",\"type\":\"%s\",\"size\":%u,\"optional\":%s,"
	       "\"signed\":%s,\"min\":%lld,\"max\":%lld,\"sub\":\"%s\","
	       "\"names\":[",
	    f->name, types[f->type], f->size,
	    f->flags & FF_OPTIONAL ? "true" : "false",
	    f->flags & FF_UNSIGNED ? "false" : "true", f->min, f->max,
	    f->sub != NULL ? f->sub->name : "");
	for (n = f->names; n != NULL && *n != NULL; n++)
		printf("%s\"%s\"", n == f->names ? "" : ",", *n);
	printf("]}");
}

int
main(void)
{
	const struct object_info *o;
	size_t i;

	printf("{");
	for (o = objects; o->table != NULL; o++) {
		printf("%s\n\"%s\":[", o == objects ? "" : ",", o->table->name);
		for (i = 0; i < o->table->nfields; i++) {
			printf("%s\n", i == 0 ? "" : ",");
			print_field(&o->table->fields[i]);
		}
		printf("]");
	}
	printf("\n}\n");
	return ferror(stdout) || fflush(stdout) != 0;
}
