#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/http.h"
#include "common/num.h"
#include "common/util.h"
#include "tests/suite/t.h"

#define BODY_MAX 65536
#define H "Host: a\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"
#define GET "GET / HTTP/1.1\r\n"
#define POST "POST / HTTP/1.1\r\n" H
#define CPOST POST CHUNKED "\r\n"
#define UPGRADE "Connection: Upgrade\r\nUpgrade: websocket\r\n"
#define X64 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X256 X64 X64 X64 X64
#define X1K X256 X256 X256 X256
#define F8 "a:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\n"
/* with NULs inside, so the length comes from the literal */
#define IN(s) (s), sizeof(s) - 1
#define t_text(got, len, want) t_mem(got, len, want, sizeof(want) - 1)

/*
 * Rows of messages.  rule NULL: accepted, ends after `ends` bytes (0: all),
 * with `body`.  Otherwise refused by exactly this rule with this status.
 */
struct row {
	const char *name;
	const char *in;
	size_t len;
	const char *rule;
	int status;
	size_t ends;
	const char *body;
};

static const struct row requests[] = {
	/* what is good */
	{ "plain", IN(GET H "\r\n"), NULL, 0, 0, "" },
	{ "absent header value", IN(GET H "A:\r\n\r\n"), NULL, 0, 0, "" },
	{ "value with spaces around", IN(GET H "A: \t b \t\r\n\r\n"), NULL, 0,
	    0, "" },
	{ "obs-text is opaque", IN(GET H "A: \xc3\xa4\r\n\r\n"), NULL, 0, 0,
	    "" },
	{ "host with port", IN(GET "Host: a.b-c:80\r\n\r\n"), NULL, 0, 0, "" },
	{ "host is IPv6", IN(GET "Host: [::1]:80\r\n\r\n"), NULL, 0, 0, "" },
	{ "host in lower case", IN(GET "host: a\r\n\r\n"), NULL, 0, 0, "" },
	{ "length", IN(POST "Content-Length: 5\r\n\r\nhello"), NULL, 0, 0,
	    "hello" },
	{ "length of nothing", IN(POST "Content-Length: 0\r\n\r\n"), NULL, 0, 0,
	    "" },
	{ "no length is no body", IN(POST "\r\n"), NULL, 0, 0, "" },
	{ "chunked", IN(CPOST "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), NULL, 0, 0,
	    "hello" },
	{ "chunk with extension", IN(CPOST "2;a=\"b\"\r\nhi\r\n0;z\r\n\r\n"),
	    NULL, 0, 0, "hi" },
	{ "chunk size in capitals", IN(CPOST "0A\r\n0123456789\r\n0\r\n\r\n"),
	    NULL, 0, 0, "0123456789" },
	{ "trailers are dropped", IN(CPOST "0\r\nA: b\r\nC: d\r\n\r\n"), NULL,
	    0, 0, "" },
	{ "pipelined: stops at the end", IN(GET H "\r\nGET /b"), NULL, 0,
	    sizeof(GET H "\r\n") - 1, "" },
	{ "pipelined after a body",
	    IN(POST "Content-Length: 2\r\n\r\nhi" GET H "\r\n"), NULL, 0,
	    sizeof(POST "Content-Length: 2\r\n\r\nhi") - 1, "hi" },
	{ "pipelined after chunks", IN(CPOST "0\r\n\r\n" GET H "\r\n"), NULL, 0,
	    sizeof(CPOST "0\r\n\r\n") - 1, "" },
	{ "bytes after an upgrade", IN(GET H UPGRADE "\r\n\x81\x80"), NULL, 0,
	    sizeof(GET H UPGRADE "\r\n") - 1, "" },
	{ "longest line",
	    IN("GET /" X1K X1K X1K X256 X256 X256 X64 X64 X64
	       "1234567890123456789012345678901234567890123456789"
	       " HTTP/1.1\r\n" H "\r\n"),
	    NULL, 0, 0, "" },
	{ "64 fields",
	    IN(GET F8 F8 F8 F8 F8 F8 F8
		"a:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\n" H "\r\n"),
	    NULL, 0, 0, "" },
	{ "body at the limit", IN(POST "Content-Length: 65536\r\n\r\n"), "more",
	    0, 0, NULL },

	/* the request line */
	{ "TLS hello", IN("\x16\x03\x01\x02"), "HTTP_START_BYTE", 400, 0, 0 },
	{ "empty line first", IN("\r\n" GET H "\r\n"), "HTTP_START_BYTE", 400,
	    0, 0 },
	{ "space first", IN(" " GET H "\r\n"), "HTTP_START_BYTE", 400, 0, 0 },
	{ "NUL first", IN("\0" GET H "\r\n"), "HTTP_START_BYTE", 400, 0, 0 },
	{ "one word", IN("GET\r\n"), "HTTP_LINE_PARTS", 400, 0, 0 },
	{ "HTTP/0.9", IN("GET /\r\n"), "HTTP_VERSION_MISSING", 400, 0, 0 },
	{ "two spaces before target", IN("GET  / HTTP/1.1\r\n" H "\r\n"),
	    "HTTP_LINE_SPACE", 400, 0, 0 },
	{ "two spaces before version", IN("GET /  HTTP/1.1\r\n" H "\r\n"),
	    "HTTP_LINE_SPACE", 400, 0, 0 },
	{ "space at the end", IN("GET / HTTP/1.1 \r\n" H "\r\n"),
	    "HTTP_LINE_SPACE", 400, 0, 0 },
	{ "space in target", IN("GET /a b HTTP/1.1\r\n" H "\r\n"),
	    "HTTP_LINE_SPACE", 400, 0, 0 },
	{ "tab for a space", IN("GET\t/ HTTP/1.1\r\n" H "\r\n"),
	    "HTTP_VERSION_MISSING", 400, 0, 0 },
	{ "method with NUL", IN("GE\0T / HTTP/1.1\r\n" H "\r\n"),
	    "HTTP_METHOD_TOKEN", 400, 0, 0 },
	{ "method with bracket", IN("G[T / HTTP/1.1\r\n" H "\r\n"),
	    "HTTP_METHOD_TOKEN", 400, 0, 0 },
	{ "method unknown", IN("BREW / HTTP/1.1\r\n" H "\r\n"),
	    "HTTP_METHOD_KNOWN", 501, 0, 0 },
	{ "method in lower case", IN("get / HTTP/1.1\r\n" H "\r\n"),
	    "HTTP_METHOD_KNOWN", 501, 0, 0 },
	{ "TRACE", IN("TRACE / HTTP/1.1\r\n" H "\r\n"), "HTTP_METHOD_KNOWN",
	    501, 0, 0 },
	{ "CONNECT", IN("CONNECT a:80 HTTP/1.1\r\n" H "\r\n"),
	    "HTTP_METHOD_KNOWN", 501, 0, 0 },
	{ "HTTP/1.0", IN("GET / HTTP/1.0\r\n" H "\r\n"), "HTTP_VERSION_11", 505,
	    0, 0 },
	{ "HTTP/1.2", IN("GET / HTTP/1.2\r\n" H "\r\n"), "HTTP_VERSION_11", 505,
	    0, 0 },
	{ "HTTP/2 preface", IN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
	    "HTTP_VERSION_11", 505, 0, 0 },
	{ "version in lower case", IN("GET / http/1.1\r\n" H "\r\n"),
	    "HTTP_VERSION_FORM", 400, 0, 0 },
	{ "version of two digits", IN("GET / HTTP/1.10\r\n" H "\r\n"),
	    "HTTP_VERSION_FORM", 400, 0, 0 },
	{ "version without minor", IN("GET / HTTP/1\r\n" H "\r\n"),
	    "HTTP_VERSION_FORM", 400, 0, 0 },
	{ "another protocol", IN("GET / ICAP/1.0\r\n" H "\r\n"),
	    "HTTP_VERSION_FORM", 400, 0, 0 },
	{ "SSH", IN("SSH-2.0-OpenSSH_9.2\r\n"), "HTTP_LINE_PARTS", 400, 0, 0 },
	{ "line too long", IN("GET /" X1K X1K X1K X1K " HTTP/1.1\r\n"),
	    "HTTP_LINE_LONG", 414, 0, 0 },
	{ "method too long", IN(X1K X1K X1K X1K "x"), "HTTP_LINE_LONG", 400, 0,
	    0 },
	/* the target */
	{ "control in target", IN("GET /\x01 HTTP/1.1\r\n" H "\r\n"),
	    "HTTP_TARGET_BYTES", 400, 0, 0 },
	{ "NUL in target", IN("GET /a\0b HTTP/1.1\r\n" H "\r\n"),
	    "HTTP_TARGET_BYTES", 400, 0, 0 },
	{ "tab in target", IN("GET /a\tb HTTP/1.1\r\n" H "\r\n"),
	    "HTTP_TARGET_BYTES", 400, 0, 0 },
	{ "DEL in target", IN("GET /\x7f HTTP/1.1\r\n" H "\r\n"),
	    "HTTP_TARGET_BYTES", 400, 0, 0 },
	{ "non-ASCII in target", IN("GET /\xc3\xa4 HTTP/1.1\r\n" H "\r\n"),
	    "HTTP_TARGET_BYTES", 400, 0, 0 },
	{ "fragment", IN("GET /a#b HTTP/1.1\r\n" H "\r\n"),
	    "HTTP_TARGET_FRAGMENT", 400, 0, 0 },
	{ "quote in target", IN("GET /\" HTTP/1.1\r\n" H "\r\n"),
	    "HTTP_TARGET_CHARS", 400, 0, 0 },
	{ "backslash in target", IN("GET /a\\b HTTP/1.1\r\n" H "\r\n"),
	    "HTTP_TARGET_CHARS", 400, 0, 0 },
	{ "asterisk", IN("OPTIONS * HTTP/1.1\r\n" H "\r\n"),
	    "HTTP_TARGET_ASTERISK", 501, 0, 0 },
	{ "absolute form", IN("GET http://b/ HTTP/1.1\r\n" H "\r\n"),
	    "HTTP_TARGET_ABSOLUTE", 501, 0, 0 },
	{ "authority form", IN("GET a:80 HTTP/1.1\r\n" H "\r\n"),
	    "HTTP_TARGET_ORIGIN", 400, 0, 0 },
	{ "no slash first", IN("GET a/b HTTP/1.1\r\n" H "\r\n"),
	    "HTTP_TARGET_ORIGIN", 400, 0, 0 },
	/* line ends */
	{ "bare LF in request line", IN("GET / HTTP/1.1\n" H "\r\n"),
	    "HTTP_BARE_LF", 400, 0, 0 },
	{ "bare LF after a header", IN(GET "Host: a\n\r\n"), "HTTP_BARE_LF",
	    400, 0, 0 },
	{ "bare LF ends the head", IN(GET H "\n"), "HTTP_BARE_LF", 400, 0, 0 },
	{ "bare CR in request line", IN("GET / HTTP/1.1\rX\r\n" H "\r\n"),
	    "HTTP_BARE_CR", 400, 0, 0 },
	{ "bare CR in value", IN(GET H "A: b\rc\r\n\r\n"), "HTTP_BARE_CR", 400,
	    0, 0 },
	{ "two CRs", IN(GET "Host: a\r\r\n\r\n"), "HTTP_BARE_CR", 400, 0, 0 },
	/* fields */
	{ "folded line", IN(GET H "A: b\r\n c\r\n\r\n"), "HTTP_OBS_FOLD", 400,
	    0, 0 },
	{ "folded by a tab", IN(GET H "A: b\r\n\tc: d\r\n\r\n"),
	    "HTTP_OBS_FOLD", 400, 0, 0 },
	{ "space before first field", IN(GET " Host: a\r\n\r\n"),
	    "HTTP_OBS_FOLD", 400, 0, 0 },
	{ "space before colon", IN(GET "Host : a\r\n\r\n"),
	    "HTTP_FIELD_NAME_SPACE", 400, 0, 0 },
	{ "tab before colon", IN(GET "Host\t: a\r\n\r\n"),
	    "HTTP_FIELD_NAME_SPACE", 400, 0, 0 },
	{ "space inside name", IN(GET H "A B: c\r\n\r\n"),
	    "HTTP_FIELD_NAME_TOKEN", 400, 0, 0 },
	{ "no name", IN(GET H ": c\r\n\r\n"), "HTTP_FIELD_NAME_EMPTY", 400, 0,
	    0 },
	{ "no colon", IN(GET H "Abc\r\n\r\n"), "HTTP_FIELD_COLON", 400, 0, 0 },
	{ "NUL in name", IN(GET H "A\0B: c\r\n\r\n"), "HTTP_FIELD_NAME_TOKEN",
	    400, 0, 0 },
	{ "non-ASCII in name", IN(GET H "\xc3\xa4: c\r\n\r\n"),
	    "HTTP_FIELD_NAME_TOKEN", 400, 0, 0 },
	{ "parenthesis in name", IN(GET H "A(b): c\r\n\r\n"),
	    "HTTP_FIELD_NAME_TOKEN", 400, 0, 0 },
	{ "NUL in value", IN(GET H "A: b\0c\r\n\r\n"), "HTTP_FIELD_NUL", 400, 0,
	    0 },
	{ "control in value", IN(GET H "A: \x1b[2J\r\n\r\n"), "HTTP_FIELD_CTL",
	    400, 0, 0 },
	{ "DEL in value", IN(GET H "A: \x7f\r\n\r\n"), "HTTP_FIELD_CTL", 400, 0,
	    0 },
	{ "65 fields", IN(GET F8 F8 F8 F8 F8 F8 F8 F8 H "\r\n"),
	    "HTTP_FIELDS_MANY", 431, 0, 0 },
	{ "16 KiB and one field",
	    IN(GET H "A: " X1K X1K X1K X1K X1K X1K X1K X1K X1K X1K X1K X1K X1K
		    X1K X1K X1K "\r\n\r\n"),
	    "HTTP_FIELDS_LONG", 431, 0, 0 },
	/* Host */
	{ "no Host", IN(GET "\r\n"), "HTTP_HOST_MISSING", 400, 0, 0 },
	{ "two Hosts", IN(GET H "Host: b\r\n\r\n"), "HTTP_HOST_TWICE", 400, 0,
	    0 },
	{ "two equal Hosts", IN(GET H H "\r\n"), "HTTP_HOST_TWICE", 400, 0, 0 },
	{ "empty Host", IN(GET "Host:\r\n\r\n"), "HTTP_HOST_VALID", 400, 0, 0 },
	{ "Host list", IN(GET "Host: a, b\r\n\r\n"), "HTTP_HOST_VALID", 400, 0,
	    0 },
	{ "Host with user", IN(GET "Host: u@a\r\n\r\n"), "HTTP_HOST_VALID", 400,
	    0, 0 },
	{ "Host with path", IN(GET "Host: a/b\r\n\r\n"), "HTTP_HOST_VALID", 400,
	    0, 0 },
	{ "Host with bad port", IN(GET "Host: a:8x\r\n\r\n"), "HTTP_HOST_VALID",
	    400, 0, 0 },
	{ "Host with no port", IN(GET "Host: a:\r\n\r\n"), "HTTP_HOST_VALID",
	    400, 0, 0 },
	{ "Host of open bracket", IN(GET "Host: [::1\r\n\r\n"),
	    "HTTP_HOST_VALID", 400, 0, 0 },
	/* framing */
	{ "CL.TE", IN(POST "Content-Length: 5\r\n" CHUNKED "\r\n0\r\n\r\n"),
	    "HTTP_TE_CL", 400, 0, 0 },
	{ "TE.CL", IN(POST CHUNKED "Content-Length: 0\r\n\r\n0\r\n\r\n"),
	    "HTTP_TE_CL", 400, 0, 0 },
	{ "two lengths",
	    IN(POST "Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
	    "HTTP_CL_TWICE", 400, 0, 0 },
	{ "the same length twice",
	    IN(POST "Content-Length: 1\r\ncontent-length: 1\r\n\r\n"),
	    "HTTP_CL_TWICE", 400, 0, 0 },
	{ "length list", IN(POST "Content-Length: 1, 1\r\n\r\n"),
	    "HTTP_CL_LIST", 400, 0, 0 },
	{ "length with plus", IN(POST "Content-Length: +1\r\n\r\n"),
	    "HTTP_CL_DIGITS", 400, 0, 0 },
	{ "length below zero", IN(POST "Content-Length: -1\r\n\r\n"),
	    "HTTP_CL_DIGITS", 400, 0, 0 },
	{ "length in hex", IN(POST "Content-Length: 0x1\r\n\r\n"),
	    "HTTP_CL_DIGITS", 400, 0, 0 },
	{ "length with space", IN(POST "Content-Length: 1 0\r\n\r\n"),
	    "HTTP_CL_DIGITS", 400, 0, 0 },
	{ "length of a fraction", IN(POST "Content-Length: 1.0\r\n\r\n"),
	    "HTTP_CL_DIGITS", 400, 0, 0 },
	{ "length empty", IN(POST "Content-Length:\r\n\r\n"), "HTTP_CL_DIGITS",
	    400, 0, 0 },
	{ "length with leading zero", IN(POST "Content-Length: 01\r\n\r\n"),
	    "HTTP_CL_ZERO", 400, 0, 0 },
	{ "length of 2^64 + 1",
	    IN(POST "Content-Length: 18446744073709551617\r\n\r\n"),
	    "HTTP_CL_OVERFLOW", 400, 0, 0 },
	{ "length over the limit", IN(POST "Content-Length: 65537\r\n\r\n"),
	    "HTTP_BODY_LIMIT", 413, 0, 0 },
	{ "length of 19 digits",
	    IN(POST "Content-Length: 9999999999999999999\r\n\r\n"),
	    "HTTP_BODY_LIMIT", 413, 0, 0 },
	{ "gzip", IN(POST "Transfer-Encoding: gzip\r\n\r\n"), "HTTP_TE_CHUNKED",
	    501, 0, 0 },
	{ "gzip, chunked", IN(POST "Transfer-Encoding: gzip, chunked\r\n\r\n"),
	    "HTTP_TE_CHUNKED", 501, 0, 0 },
	{ "chunked, identity",
	    IN(POST "Transfer-Encoding: chunked, identity\r\n\r\n"),
	    "HTTP_TE_CHUNKED", 501, 0, 0 },
	{ "identity", IN(POST "Transfer-Encoding: identity\r\n\r\n"),
	    "HTTP_TE_CHUNKED", 501, 0, 0 },
	{ "xchunked", IN(POST "Transfer-Encoding: xchunked\r\n\r\n"),
	    "HTTP_TE_CHUNKED", 501, 0, 0 },
	{ "Chunked", IN(POST "Transfer-Encoding: Chunked\r\n\r\n"),
	    "HTTP_TE_CHUNKED", 501, 0, 0 },
	{ "chunked with parameter",
	    IN(POST "Transfer-Encoding: chunked;q=1\r\n\r\n"),
	    "HTTP_TE_CHUNKED", 501, 0, 0 },
	{ "empty coding", IN(POST "Transfer-Encoding:\r\n\r\n"),
	    "HTTP_TE_CHUNKED", 501, 0, 0 },
	{ "vertical tab, chunked",
	    IN(POST "Transfer-Encoding: \x0b"
		    "chunked\r\n\r\n"),
	    "HTTP_FIELD_CTL", 400, 0, 0 },
	{ "chunked twice", IN(POST CHUNKED CHUNKED "\r\n"), "HTTP_TE_TWICE",
	    400, 0, 0 },
	/* Connection, Upgrade, Expect */
	{ "Connection drops Content-Length",
	    IN(POST "Connection: content-length\r\nContent-Length: 1\r\n\r\n"),
	    "HTTP_CONN_FRAMING", 400, 0, 0 },
	{ "Connection drops Host", IN(GET H "Connection: close, Host\r\n\r\n"),
	    "HTTP_CONN_FRAMING", 400, 0, 0 },
	{ "Connection is no list", IN(GET H "Connection: \"close\"\r\n\r\n"),
	    "HTTP_CONN_LIST", 400, 0, 0 },
	{ "upgrade with a length", IN(POST UPGRADE "Content-Length: 1\r\n\r\n"),
	    "HTTP_UPGRADE_BODY", 400, 0, 0 },
	{ "upgrade with chunks", IN(POST UPGRADE CHUNKED "\r\n0\r\n\r\n"),
	    "HTTP_UPGRADE_BODY", 400, 0, 0 },
	{ "two upgrades", IN(GET H UPGRADE "Upgrade: h2c\r\n\r\n"),
	    "HTTP_UPGRADE_TWICE", 400, 0, 0 },
	{ "expects something else", IN(POST "Expect: 200-ok\r\n\r\n"),
	    "HTTP_EXPECT", 417, 0, 0 },
	/* chunks */
	{ "chunk with sign", IN(CPOST "+1\r\na\r\n0\r\n\r\n"),
	    "HTTP_CHUNK_SIZE", 400, 0, 0 },
	{ "chunk below zero", IN(CPOST "-1\r\n"), "HTTP_CHUNK_SIZE", 400, 0,
	    0 },
	{ "chunk with 0x", IN(CPOST "0x1\r\na\r\n0\r\n\r\n"), "HTTP_CHUNK_SIZE",
	    400, 0, 0 },
	{ "chunk with space", IN(CPOST "1 \r\na\r\n0\r\n\r\n"),
	    "HTTP_CHUNK_SIZE", 400, 0, 0 },
	{ "chunk with space before", IN(CPOST " 1\r\na\r\n0\r\n\r\n"),
	    "HTTP_CHUNK_SIZE", 400, 0, 0 },
	{ "chunk without size", IN(CPOST "\r\na\r\n0\r\n\r\n"),
	    "HTTP_CHUNK_EMPTY", 400, 0, 0 },
	{ "chunk of extension only", IN(CPOST ";a\r\n"), "HTTP_CHUNK_EMPTY",
	    400, 0, 0 },
	{ "chunk of 17 digits", IN(CPOST "10000000000000001\r\na\r\n"),
	    "HTTP_CHUNK_OVERFLOW", 400, 0, 0 },
	{ "chunk of leading zeros", IN(CPOST "00000000000000001\r\na\r\n"),
	    "HTTP_CHUNK_OVERFLOW", 400, 0, 0 },
	{ "chunk of 2^64 - 1", IN(CPOST "ffffffffffffffff\r\na"),
	    "HTTP_BODY_LIMIT", 413, 0, 0 },
	{ "chunks sum past 2^64", IN(CPOST "1\r\na\r\nffffffffffffffff\r\na"),
	    "HTTP_BODY_LIMIT", 413, 0, 0 },
	{ "chunks over the limit", IN(CPOST "1\r\na\r\n10000\r\n"),
	    "HTTP_BODY_LIMIT", 413, 0, 0 },
	{ "chunk size ends in LF", IN(CPOST "1\na\r\n0\r\n\r\n"),
	    "HTTP_CHUNK_BARE_LF", 400, 0, 0 },
	{ "extension ends in LF", IN(CPOST "1;a\na\r\n0\r\n\r\n"),
	    "HTTP_CHUNK_BARE_LF", 400, 0, 0 },
	{ "chunk size with CR", IN(CPOST "1\ra\r\n0\r\n\r\n"),
	    "HTTP_CHUNK_BARE_CR", 400, 0, 0 },
	{ "extension with CR", IN(CPOST "1;a\rb\r\na\r\n0\r\n\r\n"),
	    "HTTP_CHUNK_BARE_CR", 400, 0, 0 },
	{ "extension with NUL", IN(CPOST "1;\0\r\na\r\n0\r\n\r\n"),
	    "HTTP_CHUNK_EXT_BYTES", 400, 0, 0 },
	{ "extension too long", IN(CPOST "1;" X256 "x\r\na\r\n0\r\n\r\n"),
	    "HTTP_CHUNK_EXT_LONG", 400, 0, 0 },
	{ "extensions too long together",
	    IN(CPOST "1;" X64 X64 X64 "\r\na\r\n1;" X64 "x\r\na\r\n0\r\n\r\n"),
	    "HTTP_CHUNK_EXT_LONG", 400, 0, 0 },
	{ "chunk longer than its size", IN(CPOST "1\r\nab\r\n0\r\n\r\n"),
	    "HTTP_CHUNK_END", 400, 0, 0 },
	{ "chunk ends in LF", IN(CPOST "1\r\na\n0\r\n\r\n"), "HTTP_CHUNK_END",
	    400, 0, 0 },
	{ "chunk ends in CR", IN(CPOST "1\r\na\rx0\r\n\r\n"), "HTTP_CHUNK_END",
	    400, 0, 0 },
	/* trailers */
	{ "trailer Content-Length", IN(CPOST "0\r\nContent-Length: 5\r\n\r\n"),
	    "HTTP_TRAILER_FORBIDDEN", 400, 0, 0 },
	{ "trailer Host", IN(CPOST "0\r\nhost: b\r\n\r\n"),
	    "HTTP_TRAILER_FORBIDDEN", 400, 0, 0 },
	{ "trailer Authorization", IN(CPOST "0\r\nAuthorization: b\r\n\r\n"),
	    "HTTP_TRAILER_FORBIDDEN", 400, 0, 0 },
	{ "trailer ends in LF", IN(CPOST "0\r\nA: b\n\r\n"), "HTTP_BARE_LF",
	    400, 0, 0 },
	{ "trailers end in LF", IN(CPOST "0\r\n\n"), "HTTP_BARE_LF", 400, 0,
	    0 },
	{ "trailer with NUL", IN(CPOST "0\r\nA: \0\r\n\r\n"), "HTTP_FIELD_NUL",
	    400, 0, 0 },
	{ "trailer folded", IN(CPOST "0\r\nA: b\r\n c\r\n\r\n"),
	    "HTTP_OBS_FOLD", 400, 0, 0 },
	{ "1 KiB and one trailer", IN(CPOST "0\r\nA: " X1K "\r\n\r\n"),
	    "HTTP_TRAILER_LONG", 431, 0, 0 },
	{ "17 trailers", IN(CPOST "0\r\n" F8 F8 "a:\r\n\r\n"),
	    "HTTP_TRAILER_MANY", 431, 0, 0 },
	{ "a request for a trailer", IN(CPOST "0\r\nGET / HTTP/1.1\r\n\r\n"),
	    "HTTP_FIELD_COLON", 400, 0, 0 },
	/* cut off */
	{ "nothing", IN(""), "more", 0, 0, NULL },
	{ "half a head", IN(GET "Hos"), "more", 0, 0, NULL },
	{ "half a body", IN(POST "Content-Length: 5\r\n\r\nhel"), "more", 0, 0,
	    NULL },
	{ "half a chunk", IN(CPOST "5\r\nhel"), "more", 0, 0, NULL },
	{ "no last chunk", IN(CPOST "1\r\na\r\n"), "more", 0, 0, NULL },
	{ "no end of trailers", IN(CPOST "0\r\n"), "more", 0, 0, NULL },
};

/* flags stand in front of the rows of answers */
static const struct {
	unsigned int flags;
	struct row r;
} answers[] = {
	{ 0,
	    { "length", IN("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHT"),
		NULL, 0, 40, "ok" } },
	{ 0,
	    { "no reason", IN("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"),
		NULL, 0, 0, "" } },
	{ 0,
	    { "chunked",
		IN("HTTP/1.1 200 OK\r\n" CHUNKED "\r\n2\r\nok\r\n0\r\n\r\n"),
		NULL, 0, 0, "ok" } },
	{ 0,
	    { "until close", IN("HTTP/1.1 200 OK\r\n\r\nall of it"), NULL, 0, 0,
		"all of it" } },
	{ 0,
	    { "100 first", IN("HTTP/1.1 100 Continue\r\n\r\nHTTP"), NULL, 0, 25,
		"" } },
	{ 0,
	    { "204", IN("HTTP/1.1 204 No Content\r\n\r\nHTTP"), NULL, 0, 27,
		"" } },
	{ 0,
	    { "304 with length",
		IN("HTTP/1.1 304 Not Modified\r\n"
		   "Content-Length: 7\r\n\r\nHTTP"),
		NULL, 0, 48, "" } },
	{ HTTP_TO_HEAD,
	    { "HEAD with length",
		IN("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nHTTP"),
		NULL, 0, 45, "" } },
	{ HTTP_TO_HEAD,
	    { "HEAD with chunked", IN("HTTP/1.1 200 OK\r\n" CHUNKED "\r\nHTTP"),
		NULL, 0, 47, "" } },
	{ HTTP_TO_UPGRADE,
	    { "101 hands over", IN("HTTP/1.1 101 S\r\n" UPGRADE "\r\n\x81\x00"),
		NULL, 0, 59, "" } },
	{ HTTP_OK_10,
	    { "HTTP/1.0 where allowed", IN("HTTP/1.0 200 OK\r\n\r\nbody"), NULL,
		0, 0, "body" } },
	{ HTTP_OK_10,
	    { "HTTP/1.0 with length",
		IN("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nxy"), NULL, 0,
		39, "x" } },

	{ 0,
	    { "HTTP/1.0", IN("HTTP/1.0 200 OK\r\n\r\n"), "HTTP_VERSION_11", 502,
		0, 0 } },
	{ HTTP_OK_10,
	    { "HTTP/2.0 where 1.0 is allowed", IN("HTTP/2.0 200 OK\r\n\r\n"),
		"HTTP_VERSION_11", 502, 0, 0 } },
	{ HTTP_OK_10,
	    { "HTTP/1.0 chunked",
		IN("HTTP/1.0 200 OK\r\n" CHUNKED "\r\n0\r\n\r\n"), "HTTP_TE_10",
		502, 0, 0 } },
	{ 0,
	    { "other version", IN("HTTP/x.1 200 OK\r\n\r\n"),
		"HTTP_VERSION_FORM", 502, 0, 0 } },
	{ 0,
	    { "no space before reason", IN("HTTP/1.1 200\r\n\r\n"),
		"HTTP_STATUS_LINE", 502, 0, 0 } },
	{ 0,
	    { "two spaces", IN("HTTP/1.1  200 OK\r\n\r\n"), "HTTP_STATUS_LINE",
		502, 0, 0 } },
	{ 0,
	    { "four digits", IN("HTTP/1.1 2000 OK\r\n\r\n"), "HTTP_STATUS_LINE",
		502, 0, 0 } },
	{ 0,
	    { "status 099", IN("HTTP/1.1 099 OK\r\n\r\n"), "HTTP_STATUS_CODE",
		502, 0, 0 } },
	{ 0,
	    { "status 600", IN("HTTP/1.1 600 OK\r\n\r\n"), "HTTP_STATUS_CODE",
		502, 0, 0 } },
	{ 0,
	    { "status 2x0", IN("HTTP/1.1 2x0 OK\r\n\r\n"), "HTTP_STATUS_CODE",
		502, 0, 0 } },
	{ 0,
	    { "control in reason", IN("HTTP/1.1 200 \x1b[2J\r\n\r\n"),
		"HTTP_STATUS_REASON", 502, 0, 0 } },
	{ 0,
	    { "bare LF", IN("HTTP/1.1 200 OK\n\n"), "HTTP_BARE_LF", 502, 0,
		0 } },
	{ 0,
	    { "both framings",
		IN("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" CHUNKED "\r\n"),
		"HTTP_TE_CL", 502, 0, 0 } },
	{ 0,
	    { "two lengths",
		IN("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
		   "Content-Length: 2\r\n\r\n"),
		"HTTP_CL_TWICE", 502, 0, 0 } },
	{ 0,
	    { "body on 204", IN("HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n"),
		"HTTP_BARE_BODY", 502, 0, 0 } },
	{ 0,
	    { "body on 100", IN("HTTP/1.1 100 C\r\n" CHUNKED "\r\n"),
		"HTTP_BARE_BODY", 502, 0, 0 } },
	{ 0,
	    { "101 unasked", IN("HTTP/1.1 101 S\r\n" UPGRADE "\r\n"),
		"HTTP_101_UNASKED", 502, 0, 0 } },
	{ HTTP_TO_UPGRADE,
	    { "101 without Upgrade",
		IN("HTTP/1.1 101 S\r\nConnection: Upgrade\r\n\r\n"),
		"HTTP_101_UPGRADE", 502, 0, 0 } },
	{ 0,
	    { "too long",
		IN("HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n"
		   "\r\n"),
		"HTTP_BODY_LIMIT", 502, 0, 0 } },
	{ 0,
	    { "cut off", IN("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"),
		"HTTP_EOF", 502, 0, 0 } },
	{ 0,
	    { "cut off in chunks",
		IN("HTTP/1.1 200 OK\r\n" CHUNKED "\r\n5\r\nab"), "HTTP_EOF",
		502, 0, 0 } },
};

/* What one message came to, whatever pieces it came in. */
struct seen {
	enum http_ev ev;
	size_t at;
	int heads;
	char body[BODY_MAX];
	struct http_buf buf;
};

static struct http h;

static void
init(struct seen *s, bool response, unsigned int flags)
{
	struct http_sink sink = { http_buf_write, &s->buf };

	memset(s, 0, offsetof(struct seen, body));
	s->buf = (struct http_buf){ (uint8_t *)s->body, sizeof(s->body), 0 };
	if (response)
		http_response_init(&h, BODY_MAX, flags, &sink);
	else
		http_request_init(&h, BODY_MAX, &sink);
}

/* Feeds in pieces: 0 whole, n > 0 of n bytes, < 0 of random lengths. */
static void
feed(struct seen *s, const char *in, size_t len, int piece, bool eof)
{
	size_t used, n;

	do {
		n = len - s->at;
		if (piece > 0 && n > (size_t)piece)
			n = (size_t)piece;
		if (piece < 0 && n > 0)
			n = (size_t)random() %
			    (n < 40 ? n + 1 : 40); /* allowed: seeded */
		s->ev = http_feed(&h, in + s->at, n, &used);
		t_true(used <= n);
		s->at += used;
		s->heads += s->ev == HTTP_EV_HEAD;
		if (s->ev == HTTP_EV_MORE && s->at == len) {
			if (eof)
				s->ev = http_eof(&h);
			return;
		}
	} while (s->ev == HTTP_EV_HEAD || s->ev == HTTP_EV_MORE);
}

static void
check_row(const struct row *r, const struct seen *s)
{
	if (r->rule == NULL) {
		t_eq(s->ev, HTTP_EV_DONE);
		if (s->ev == HTTP_EV_FAULT)
			t_str(h.fault_rule, "none");
		t_eq(s->at, r->ends != 0 ? r->ends : r->len);
		t_eq(s->heads, 1);
		t_mem(s->body, s->buf.used, r->body, strlen(r->body));
		return;
	}
	if (strcmp(r->rule, "more") == 0) {
		t_eq(s->ev, HTTP_EV_MORE);
		return;
	}
	t_eq(s->ev, HTTP_EV_FAULT);
	if (s->ev != HTTP_EV_FAULT)
		return;
	t_str(h.fault_rule, r->rule);
	t_eq(h.fault_status, r->status);
	t_true(strlen(h.fault_text) > 10);
	t_true(!h.keep_alive);
}

static void
check_rows(int piece)
{
	static struct seen s;
	size_t i;

	for (i = 0; i < nitems(requests); i++) {
		t_row(requests[i].name);
		init(&s, false, 0);
		feed(&s, requests[i].in, requests[i].len, piece, false);
		check_row(&requests[i], &s);
	}
	for (i = 0; i < nitems(answers); i++) {
		t_row(answers[i].r.name);
		init(&s, true, answers[i].flags);
		feed(&s, answers[i].r.in, answers[i].r.len, piece, true);
		check_row(&answers[i].r, &s);
	}
}

static void
test_rows_whole(void)
{
	check_rows(0);
}

static void
test_rows_bytewise(void)
{
	check_rows(1);
}

static void
test_rows_random_splits(void)
{
	const char *given = secure_getenv("HTTP_SEED");
	long long seed = (long long)time(NULL);
	int i;

	if (given != NULL)
		t_eq(parse_num(given, 0, UINT32_MAX, &seed), 0);
	printf("# HTTP_SEED=%lld\n", seed);
	srandom((unsigned int)seed); /* allowed: nothing secret */
	for (i = 0; i < 20; i++)
		check_rows(-1);
}

/* Strangers' bytes cannot make us run out of memory: none is asked for. */
static void
test_allocates_nothing(void)
{
	t_fail_alloc(1);
	check_rows(0);
	t_true(!t_alloc_failed());
}

/* A fault stays: nothing after it is looked at. */
static void
test_fault_stays(void)
{
	static struct seen s;
	size_t used = 7;

	init(&s, false, 0);
	feed(&s, "GET /\n", 6, 0, false);
	t_eq(s.ev, HTTP_EV_FAULT);
	t_eq(http_feed(&h, GET, sizeof(GET) - 1, &used), HTTP_EV_FAULT);
	t_eq(used, 0);
	t_eq(http_eof(&h), HTTP_EV_FAULT);
	t_str(h.fault_rule, "HTTP_BARE_LF");
}

static void
test_head(void)
{
	static const char in[] =
	    "PATCH /a/%2e?x=1&y?=/ HTTP/1.1\r\n"
	    "HOST: h:1\r\nX-A:  one two \r\nx-b: 1\r\nX-B: 2\r\n"
	    "Expect: 100-Continue\r\nContent-Length: 3\r\n\r\n";
	static struct seen s;
	const char *v = NULL;

	init(&s, false, 0);
	feed(&s, in, sizeof(in) - 1, 1, false);
	t_eq(s.heads, 1);
	t_eq(h.method, HTTP_PATCH);
	t_str(http_method_name(h.method), "PATCH");
	t_str(h.path, "/a/%2e");
	t_str(h.query, "x=1&y?=/");
	t_str(h.host, "h:1");
	t_eq(h.nfields, 6);
	t_eq(h.content_length, 3);
	t_true(h.expect_continue);
	t_true(h.keep_alive);
	t_true(h.upgrade == NULL);
	t_eq(http_get(&h, "x-a", &v), 0);
	t_str(v, "one two");
	t_eq(http_get(&h, "X-b", &v), -EEXIST);
	t_eq(http_get(&h, "X-C", &v), -ENOENT);
	t_str(v, "one two");
}

static const struct {
	const char *name, *fields;
	bool keep_alive, expect;
	const char *upgrade;
} intents[] = {
	{ "plain", "", true, false, NULL },
	{ "close", "Connection: Close\r\n", false, false, NULL },
	{ "close in a list", "Connection: x ,close\r\n", false, false, NULL },
	{ "close in a second field", "Connection: x\r\nConnection: close\r\n",
	    false, false, NULL },
	{ "closer is not close", "Connection: closer\r\n", true, false, NULL },
	{ "upgrade", UPGRADE, true, false, "websocket" },
	{ "Upgrade alone means nothing", "Upgrade: h2c\r\n", true, false,
	    NULL },
	{ "Connection alone means nothing", "Connection: upgrade\r\n", true,
	    false, NULL },
	{ "expects without a body", "Expect: 100-continue\r\n", true, false,
	    NULL },
	{ "expects", "Expect: 100-continue\r\nContent-Length: 1\r\n", true,
	    true, NULL },
};

static void
test_intents(void)
{
	static struct seen s;
	char in[512];
	size_t i;

	for (i = 0; i < nitems(intents); i++) {
		t_row(intents[i].name);
		(void)snprintf(
		    in, sizeof(in), "%s%s\r\n", GET H, intents[i].fields);
		init(&s, false, 0);
		feed(&s, in, strlen(in), 0, false);
		t_eq(s.heads, 1);
		t_eq(h.keep_alive, intents[i].keep_alive);
		t_eq(h.expect_continue, intents[i].expect);
		t_str(h.upgrade, intents[i].upgrade);
	}
}

/* Many messages on one connection, each ending exactly where it should. */
static void
test_pipeline(void)
{
	static const char in[] =
	    GET H "\r\n" CPOST "2\r\nhi\r\n0\r\nT: x\r\n\r\n" POST
		  "Content-Length: 3\r\n\r\nabc"
		  "DELETE /x HTTP/1.1\r\n" H "\r\n";
	static const char *const bodies[] = { "", "hi", "abc", "" };
	static struct seen s;
	size_t i, n, used, at;
	enum http_ev ev;

	for (n = 1; n < sizeof(in); n++) {
		init(&s, false, 0);
		at = 0;
		for (i = 0; i < nitems(bodies); i++) {
			do {
				size_t len = sizeof(in) - 1 - at;

				ev = http_feed(
				    &h, in + at, len > n ? n : len, &used);
				at += used;
			} while (ev == HTTP_EV_HEAD ||
			    (ev == HTTP_EV_MORE && at < sizeof(in) - 1));
			t_eq(ev, HTTP_EV_DONE);
			t_mem(s.body, s.buf.used, bodies[i], strlen(bodies[i]));
			s.buf.used = 0;
			http_next(&h);
		}
		t_eq(at, sizeof(in) - 1);
	}
}

static int
no_more(void *arg, const void *data, size_t len)
{
	(void)arg;
	(void)data;
	(void)len;
	return -ENOSPC;
}

static void
test_sinks(void)
{
	static const char in[] = CPOST "2\r\nhi\r\n0\r\n\r\n";
	struct http_sink full = { no_more, NULL };
	uint8_t two[2];
	struct http_buf small = { two, sizeof(two), 0 };
	static struct seen s;

	init(&s, false, 0);
	h.sink = full;
	feed(&s, in, sizeof(in) - 1, 0, false);
	t_eq(s.ev, HTTP_EV_FAULT);
	t_str(h.fault_rule, "HTTP_SINK");

	http_request_init(&h, BODY_MAX, NULL); /* dropped, but counted */
	s.at = 0;
	feed(&s, in, sizeof(in) - 1, 0, false);
	t_eq(s.ev, HTTP_EV_DONE);
	t_eq(h.body_len, 2);

	t_eq(http_buf_write(&small, "abc", 3), -EMSGSIZE);
	t_eq(http_buf_write(&small, "ab", 2), 0);
	t_eq(http_buf_write(&small, "", 0), 0);
	t_eq(http_buf_write(&small, "c", 1), -EMSGSIZE);
}

/* A body without end is bounded too. */
static void
test_until_close_limit(void)
{
	static const char in[] = "HTTP/1.1 200 OK\r\n\r\nabcdef";
	static struct seen s;

	init(&s, true, 0);
	h.body_max = 5;
	feed(&s, in, sizeof(in) - 1, 1, true);
	t_eq(s.ev, HTTP_EV_FAULT);
	t_str(h.fault_rule, "HTTP_BODY_LIMIT");
	t_mem(s.body, s.buf.used, "abcde", 5);
}

static void
test_list_has(void)
{
	static const struct {
		const char *list, *token;
		bool has;
	} rows[] = {
		{ "a", "a", true },
		{ "a", "A", true },
		{ "", "a", false },
		{ ",, ,", "a", false },
		{ "b,a", "a", true },
		{ "b , a ,c", "a", true },
		{ "ab", "a", false },
		{ "a b", "a", false },
		{ "b a", "a", false },
		{ "a;q=1", "a", false },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].list);
		t_eq(http_list_has(rows[i].list, rows[i].token), rows[i].has);
	}
}

static void
test_out(void)
{
	struct http_out o;
	char buf[256];
	size_t len = 0;

	http_out_response(&o, buf, sizeof(buf), 404);
	http_out_field(&o, "Content-Type", "application/json");
	http_out_field(&o, "X-Empty", "");
	http_out_field_u64(&o, "Content-Length", UINT64_MAX);
	t_eq(http_out_end(&o, &len), 0);
	t_text(buf, len,
	    ("HTTP/1.1 404 Not Found\r\n"
	     "Content-Type: application/json\r\nX-Empty: \r\n"
	     "Content-Length: 18446744073709551615\r\n\r\n"));
	http_out_request(&o, buf, sizeof(buf), HTTP_PUT, "/a?b=c", "h");
	t_eq(http_out_end(&o, &len), 0);
	t_text(buf, len, ("PUT /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n"));
	len = http_chunk_head(buf, 500);
	t_text(buf, len, ("1f4\r\n"));
	t_str(http_reason(503), "Service Unavailable");
	t_str(http_reason(599), "Unknown");
}

static void
test_out_injection(void)
{
	static const struct {
		const char *why, *name, *value;
	} rows[] = {
		{ "HTTP_OUT_VALUE: CRLF", "A", "b\r\nSet-Cookie: c" },
		{ "HTTP_OUT_VALUE: LF", "A", "b\nc" },
		{ "HTTP_OUT_VALUE: CR", "A", "b\rc" },
		{ "HTTP_OUT_VALUE: escape", "A", "\x1b[2J" },
		{ "HTTP_OUT_VALUE: space around", "A", " b" },
		{ "HTTP_OUT_VALUE: space at the end", "A", "b\t" },
		{ "HTTP_OUT_NAME: empty", "", "b" },
		{ "HTTP_OUT_NAME: colon", "A:", "b" },
		{ "HTTP_OUT_NAME: space", "A ", "b" },
		{ "HTTP_OUT_NAME: CRLF", "A\r\nB", "b" },
	};
	static const char *const targets[] = { "", "a", "/ b", "/a\r\nB: c",
		"/\xc3\xa4", "/#", "http://x/" };
	struct http_out o;
	char buf[256];
	size_t i, len = 7;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].why);
		http_out_response(&o, buf, sizeof(buf), 200);
		http_out_field(&o, rows[i].name, rows[i].value);
		http_out_field(&o, "C", "d"); /* the fault sticks */
		t_eq(http_out_end(&o, &len), -EINVAL);
		t_eq(len, 7);
	}
	for (i = 0; i < nitems(targets); i++) {
		t_row(targets[i]); /* HTTP_OUT_TARGET */
		http_out_request(
		    &o, buf, sizeof(buf), HTTP_GET, targets[i], "h");
		t_eq(http_out_end(&o, &len), -EINVAL);
	}
	t_row("no such status");
	http_out_response(&o, buf, sizeof(buf), 99);
	t_eq(http_out_end(&o, &len), -EINVAL);
}

/* Every length of buffer: either it fits or it says so; never past its end */
static void
test_out_bound(void)
{
	static const char want[] = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
	size_t cap, len = 0;
	struct http_out o;
	char buf[64];
	int r;

	for (cap = 0; cap < sizeof(buf); cap++) {
		memset(buf, 'x', sizeof(buf));
		http_out_response(&o, buf, cap, 200);
		http_out_field(&o, "A", "b");
		r = http_out_end(&o, &len);
		t_eq(r, cap < sizeof(want) - 1 ? -EMSGSIZE : 0);
		t_eq(buf[cap], 'x');
	}
	t_mem(buf, len, want, sizeof(want) - 1);
}

const struct t_case t_cases[] = { { "rows whole", test_rows_whole },
	{ "rows byte by byte", test_rows_bytewise },
	{ "rows in random splits", test_rows_random_splits },
	{ "allocates nothing", test_allocates_nothing },
	{ "fault stays", test_fault_stays }, { "head", test_head },
	{ "intents", test_intents }, { "pipeline", test_pipeline },
	{ "sinks", test_sinks },
	{ "until close limit", test_until_close_limit },
	{ "list_has", test_list_has }, { "out", test_out },
	{ "out injection", test_out_injection },
	{ "out bound", test_out_bound }, { NULL, NULL } };
