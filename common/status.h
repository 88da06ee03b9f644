#ifndef MEWS_STATUS_H
#define MEWS_STATUS_H

/*
 * What a person wants to know besides the signal that is in a wait status:
 * words that follow its number, "" for most, at most STATUS_HINT bytes.  Which
 * call a filter refused the kernel alone knows: its log, not a parent.
 */
#define STATUS_HINT 50
const char *status_hint(int status);

#endif
