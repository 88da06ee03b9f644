#ifndef MEWS_ORCHD_CHECK_H
#define MEWS_ORCHD_CHECK_H

#include <stdint.h>

/*
 * `mewsd --check-store`: is a store what this program could start with?  It is
 * read and never written, while a suite runs on it as well: SQLite's own checks
 * of pages, indices and references, then each row by the code that reads it at
 * a start.  What is found is a line each on descriptor out, at most
 * CHECK_FAULTS_MAX, then one that sums up: all fit a pipe that nobody reads.
 */
#define CHECK_FAULTS_MAX 100

/* The faults of the store at path; or of the backup that is open as fd, which
 * is not -1 then. */
uint64_t check_store(const char *path, int fd, int out);

#endif
