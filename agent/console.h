#ifndef MEWS_AGENT_CONSOLE_H
#define MEWS_AGENT_CONSOLE_H

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
/* /dev is there. */
void console_open(void);
/* The loop is there: from now on it carries on by itself. */
void console_watch(void);
/* As much as goes now; before an end of everything. */
void console_flush(void);

#endif
