#include <errno.h>

#include "common/util.h"
#include "proto/uids.h"
#include "tests/suite/t.h"

static const struct {
	const char *name;
	struct uids u;
	int r;
} ranges[] = {
	{ "the default", { 0x7a000000, 16384 }, 0 },
	{ "the lowest", { UIDS_MIN, UIDS_COUNT_MIN }, 0 },
	{ "one below it", { UIDS_MIN - 1, UIDS_COUNT_MIN }, -ERANGE },
	{ "root", { 0, 16384 }, -ERANGE },
	{ "no room for a VM and the probe", { 1000, UIDS_COUNT_MIN - 1 },
	    -ERANGE },
	{ "the largest", { 1000, UIDS_COUNT_MAX }, 0 },
	{ "past 16 bits of slots", { 1000, UIDS_COUNT_MAX + 1 }, -ERANGE },
	{ "up to the end", { UIDS_END - 16384, 16384 }, 0 },
	{ "one past the end", { UIDS_END - 16383, 16384 }, -ERANGE },
	{ "wraps around", { 0xffffff80, 16384 }, -ERANGE },
	{ "the kernel's nobody", { UIDS_END, UIDS_COUNT_MIN }, -ERANGE },
};

static void
test_ranges(void)
{
	size_t i;

	for (i = 0; i < nitems(ranges); i++) {
		t_row(ranges[i].name);
		t_eq(uids_check(&ranges[i].u), ranges[i].r);
	}
}

static const struct {
	const char *name;
	uint32_t plane, place, want; /* 7: untouched on failure */
	int r;
} places[] = {
	{ "as before there were planes", UIDS_VM, 3, 100003, 0 },
	{ "the probe's", UIDS_VM, 1023, 101023, 0 },
	{ "past the slots", UIDS_VM, 1024, 7, -ERANGE },
	{ "far past them", UIDS_VM, UINT32_MAX, 7, -ERANGE },
	{ "a VM's last role", UIDS_VM + UIDS_VM_ROLES - 1, 3, 107171, 0 },
	{ "a network", UIDS_NET, 0, 108192, 0 },
	{ "the last network", UIDS_NET + UIDS_NET_PLANES - 1, 1023, 112287, 0 },
	{ "a one-shot room", UIDS_ONESHOT, 31, 112319, 0 },
	{ "the last of all", UIDS_PLANES - 1, 1023, 116383, 0 },
	{ "past the planes", UIDS_PLANES, 0, 7, -ERANGE },
};

static void
test_places(void)
{
	const struct uids u = { 100000, 16384 };
	uint32_t got;
	size_t i;

	t_eq(uids_slots(&u), 1024);
	for (i = 0; i < nitems(places); i++) {
		got = 7;
		t_row(places[i].name);
		t_eq(uids_at(&u, places[i].plane, places[i].place, &got),
		    places[i].r);
		t_eq(got, places[i].want);
		if (places[i].r == 0)
			t_true(uids_has(&u, got));
	}
	t_row("neighbours");
	t_true(!uids_has(&u, 99999));
	t_true(!uids_has(&u, 116384));
	t_true(!uids_has(&u, 0));
}

/* Every place of a small range once: none is given twice, none lies outside. */
static void
test_apart(void)
{
	const struct uids u = { 5000, 16 * 5 + 7 };
	uint8_t seen[16 * 5 + 7] = { 0 };
	uint32_t plane, place, uid = 0;

	for (plane = 0; plane < UIDS_PLANES; plane++) {
		for (place = 0; uids_at(&u, plane, place, &uid) == 0; place++) {
			t_true(uids_has(&u, uid));
			t_eq(seen[uid - u.base]++, 0);
		}
		t_eq(place, 5);
	}
}

static void
test_oneshots(void)
{
	const struct uids small = { 1000, UIDS_COUNT_MIN },
			  large = { 1000, 16384 };

	t_eq(uids_oneshots(&small), 2);
	t_eq(uids_oneshots(&large), UIDS_ONESHOTS_MAX);
}

const struct t_case t_cases[] = { { "ranges", test_ranges },
	{ "places", test_places }, { "apart", test_apart },
	{ "oneshots", test_oneshots }, { NULL, NULL } };
