#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/suite/standin/standin.h"

/*
 * What a hypervisor that was taken over does to its host with nothing but
 * the calls its filter leaves it.
 */
#define PAGE 4096UL
#define STACK (64UL * 1024)

static void *
sleeper(void *arg)
{
	(void)arg;
	for (;;)
		(void)poll(NULL, 0, -1);
	return NULL;
}

static void *
spinner(void *arg)
{
	volatile unsigned long n = 0;

	(void)arg;
	for (;;)
		n++;
	return NULL;
}

/* Threads with small stacks: they are not to end at RLIMIT_DATA. */
static unsigned int
threads(unsigned int n, void *(*fn)(void *), int *err)
{
	pthread_attr_t attr;
	unsigned int made = 0;
	pthread_t t;

	*err = pthread_attr_init(&attr);
	if (*err == 0)
		*err = pthread_attr_setstacksize(&attr, STACK);
	while (*err == 0 && made < n) {
		*err = pthread_create(&t, &attr, fn, NULL);
		made += *err == 0;
	}
	return made;
}

unsigned int
bomb_threads(unsigned int n, int *err)
{
	return threads(n, sleeper, err);
}

unsigned int
bomb_spin(unsigned int n, int *err)
{
	return threads(n, spinner, err);
}

unsigned int
bomb_forks(unsigned int n, int *err)
{
	unsigned int made = 0;

	*err = 0;
	while (*err == 0 && made < n) {
		pid_t pid = fork();

		if (pid == 0)
			(void)sleeper(NULL);
		if (pid < 0)
			*err = errno;
		made += pid > 0;
	}
	return made;
}

/* Shared memory without a name: RLIMIT_DATA does not count it. */
unsigned int
bomb_memory(unsigned int mib, int *err)
{
	unsigned int made = 0;

	*err = 0;
	while (made < mib) {
		uint8_t *p = mmap(NULL, 1UL << 20, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		unsigned long i;

		if (p == MAP_FAILED) {
			*err = errno;
			break;
		}
		for (i = 0; i < 1UL << 20; i += PAGE)
			p[i] = 1;
		made++;
	}
	return made;
}
