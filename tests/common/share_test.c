#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "common/share.h"
#include "common/util.h"
#include "tests/suite/t.h"

static struct share_who
user(uint32_t uid)
{
	return (struct share_who){ uid, SHARE_USER };
}

static struct share_who
admin(uint32_t uid)
{
	return (struct share_who){ uid, SHARE_ADMIN };
}

/* How many more one by one until it is refused. */
static uint64_t
grab(struct share *s, struct share_who who)
{
	uint64_t n;
	bool can;

	for (n = 0; n <= s->total; n++) {
		can = share_can(s, who, 1);
		t_eq(share_take(s, who, 1), can ? 0 : -EBUSY);
		if (!can)
			break;
	}
	return n;
}

static const struct {
	const char *name;
	uint64_t total;
	uint32_t users, admins;
	uint64_t user, admin, common;
	bool is_scarce;
} kept[] = {
	{ "as it comes", 984, 1, 1, 246, 123, 615, false },
	{ "ten users", 984, 10, 2, 24, 61, 622, false },
	{ "as many as there can be", 984, 256, 33, 1, 3, 629, false },
	{ "one each, or there would be none", 64, 20, 1, 1, 8, 36, false },
	{ "more users than that", 64, 22, 1, 0, 8, 56, true },
	{ "no user", 64, 0, 1, 0, 8, 56, false },
	{ "no admin: his apid is another", 64, 4, 0, 4, 0, 48, false },
	{ "the least", 3, 1, 1, 1, 1, 1, false },
	{ "nothing", 0, 1, 1, 0, 0, 0, true },
	{ "too little for a user", 2, 1, 0, 0, 0, 2, true },
	{ "too little for an admin", 2, 0, 1, 0, 0, 2, true },
	{ "too little for two", 5, 0, 2, 0, 0, 5, true },
	{ "nobody", 64, 0, 0, 0, 0, 64, false },
};

static void
test_kept(void)
{
	struct share s;
	size_t i;

	for (i = 0; i < nitems(kept); i++) {
		t_row(kept[i].name);
		memset(&s, 0xff, sizeof(s));
		share_init(&s, kept[i].total,
		    (uint32_t[]){ kept[i].users, kept[i].admins });
		t_eq(s.kept[SHARE_USER], kept[i].user);
		t_eq(s.kept[SHARE_ADMIN], kept[i].admin);
		t_eq(s.common, kept[i].common);
		t_eq(s.is_scarce, kept[i].is_scarce);
		t_eq(s.taken, 0);
		t_true(LIST_EMPTY(&s.parts));
	}
}

/* However many take all they get, who comes last has what is kept for him. */
static void
test_greedy(void)
{
	struct share s;
	uint32_t n, i;
	uint64_t sum;

	for (n = 1; n <= 256; n++) {
		share_init(&s, 984, (uint32_t[]){ n, 3 });
		t_eq(grab(&s, user(1)), s.kept[SHARE_USER] + s.common);
		sum = s.kept[SHARE_USER] + s.common;
		for (i = 2; i <= n; i++) {
			t_eq(grab(&s, user(i)), s.kept[SHARE_USER]);
			sum += s.kept[SHARE_USER];
		}
		t_eq(grab(&s, admin(0)), s.kept[SHARE_ADMIN]);
		t_eq(grab(&s, admin(1)), s.kept[SHARE_ADMIN]);
		t_eq(grab(&s, admin(2)), s.kept[SHARE_ADMIN]);
		sum += 3 * s.kept[SHARE_ADMIN];
		t_true(sum <= 984);
		t_eq(share_take(&s, admin(0), 1), -EBUSY);
		share_give(&s, user(1), 1);
		t_eq(share_take(&s, admin(0), 1), 0);
		share_clear(&s);
	}
}

/* Nothing is kept for anybody: half, then half of the rest. */
static void
test_many(void)
{
	struct share s;

	share_init(&s, 64, (uint32_t[]){ 64, 1 });
	t_eq(grab(&s, user(1)), 28);
	t_eq(grab(&s, user(2)), 14);
	t_eq(grab(&s, user(3)), 7);
	t_eq(grab(&s, admin(0)), 8 + 4);
	t_eq(grab(&s, user(4)), 2);
	share_clear(&s);
	/* also by those for whom something is kept */
	share_init(&s, 3, (uint32_t[]){ 1, 2 });
	t_eq(grab(&s, user(1)), 2);
	t_eq(grab(&s, admin(0)), 1);
	share_clear(&s);
}

static void
test_bytes(void)
{
	struct share s;

	share_init(&s, 1000, (uint32_t[]){ 2, 0 });
	t_eq(share_take(&s, user(1), 875), 0);
	t_eq(share_take(&s, user(1), 1), -EBUSY);
	t_eq(share_take(&s, user(2), 126), -EBUSY);
	t_eq(share_take(&s, user(2), 125), 0);
	t_eq(share_has(&s, user(1)), 875);
	t_eq(share_has(&s, admin(1)), 0);
	share_give(&s, user(1), 800);
	t_eq(share_has(&s, user(1)), 75);
	t_eq(share_take(&s, user(2), 750), 0);
	t_eq(share_take(&s, user(2), 1), -EBUSY);
	t_eq(share_take(&s, user(1), 50), 0);
	/* more than it has, and of nobody */
	share_give(&s, user(1), UINT64_MAX);
	share_give(&s, user(3), 1);
	t_eq(share_has(&s, user(1)), 0);
	t_eq(share_take(&s, user(1), UINT64_MAX), -EBUSY);
	t_eq(share_take(&s, user(1), 0), 0);
	share_give(&s, user(2), 875);
	t_eq(s.taken, 0);
	t_true(LIST_EMPTY(&s.parts));
}

static void
test_memory(void)
{
	const long blocks = t_live();
	struct share s;

	share_init(&s, 10, (uint32_t[]){ 1, 0 });
	t_fail_alloc(1);
	t_eq(share_take(&s, user(1), 1), -ENOMEM);
	t_true(t_alloc_failed());
	t_eq(s.taken, 0);
	t_eq(grab(&s, user(1)), 10);
	share_clear(&s);
	t_eq(s.taken, 0);
	t_eq(t_live(), blocks);
	t_eq(share_take(&s, user(1), 10), 0); /* all at once */
	share_give(&s, user(1), 10);
	t_eq(t_live(), blocks);
	share_clear(&(struct share){ 0 });
}

static void
test_words(void)
{
	char text[SHARE_WORDS_MAX];
	struct share s;

	share_init(&s, 10, (uint32_t[]){ 1, 0 });
	t_eq(share_take(&s, user(1), 3), 0);
	share_words(&s, user(1), text);
	t_str(text,
	    "your user has 3 of them, all users together have at most 10, and "
	    "some are kept for others");
	share_clear(&s);
	s.total = UINT64_MAX; /* all of it, whatever the numbers */
	share_words(&s, user(1), text);
	t_true(strstr(text, "kept for others") != NULL);
}

const struct t_case t_cases[] = {
	{ "what is kept for whom", test_kept },
	{ "greedy callers", test_greedy },
	{ "more callers than units", test_many },
	{ "bytes", test_bytes },
	{ "no memory", test_memory },
	{ "words", test_words },
	{ NULL, NULL },
};
