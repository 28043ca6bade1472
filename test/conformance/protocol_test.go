package conformance

import (
	"strings"
	"testing"
)

// streams are raw bytes, well-formed and malformed.
var streams = map[string]string{
	"nothing":                   "",
	"inline":                    "PING\r\n",
	"inline, LF only":           "PING\n",
	"inline, blanks":            "   PING   \r\n",
	"inline, empty lines":       "\r\n\r\nPING\r\n",
	"inline, tabs":              "\tECHO\tx\t\r\n",
	"inline, quotes":            "ECHO \"a b\"\r\n",
	"inline, escapes":           "ECHO \"\\x41\\n\\r\\t\\a\\b\\\\\\\"q\\xZZ\"\r\n",
	"inline, single quotes":     "ECHO 'a \\'b\\n'\r\n",
	"inline, unbalanced":        "ECHO \"a b\r\n",
	"inline, unbalanced single": "ECHO 'a\r\n",
	"inline, text after quote":  "ECHO \"a\"b\r\n",
	"inline, quote in word":     "ECHO a\"b c\"\r\n",
	"inline, empty word":        "ECHO \"\"\r\n",
	"inline, unfinished":        "PING",
	"inline, vertical tab":      "ECHO\va\r\n",
	"inline, too big":           strings.Repeat("a", 65*1024),
	"inline, big":               "ECHO " + strings.Repeat("a", 60*1024) + "\r\n",
	"inline after multibulk":    "*1\r\n$4\r\nPING\r\nPING\r\n*1\r\n$4\r\nPING\r\n",
	"multibulk":                 "*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n",
	"multibulk, zero":           "*0\r\nPING\r\n",
	"multibulk, negative":       "*-5\r\nPING\r\n",
	"multibulk, null":           "*-1\r\nPING\r\n",
	"multibulk, no number":      "*\r\nPING\r\n",
	"multibulk, word":           "*abc\r\nPING\r\n",
	"multibulk, leading zero":   "*01\r\n$4\r\nPING\r\n",
	"multibulk, plus":           "*+1\r\n$4\r\nPING\r\n",
	"multibulk, huge":           "*2147483648\r\n",
	"multibulk, too long":       "*" + strings.Repeat("1", 65*1024),
	"multibulk, unfinished":     "*2\r\n$4\r\nECHO\r\n",
	"bulk, no dollar":           "*1\r\nPING\r\n",
	"bulk, other type":          "*1\r\n:4\r\nPING\r\n",
	"bulk, high byte":           "*1\r\n\xff4\r\nPING\r\n",
	"bulk, negative":            "*1\r\n$-1\r\n",
	"bulk, word":                "*1\r\n$abc\r\n",
	"bulk, empty length":        "*1\r\n$\r\n",
	"bulk, too large":           "*1\r\n$1048577\r\n",
	"bulk, largest":             "*2\r\n$4\r\nECHO\r\n$1048576\r\n" + strings.Repeat("x", 1<<20) + "\r\n",
	"bulk, huge":                "*1\r\n$99999999999999999999\r\n",
	"bulk, length too long":     "*1\r\n$" + strings.Repeat("1", 65*1024),
	"bulk, empty":               "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
	"bulk, wrong ending":        "*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n",
	"empty command name":        "*1\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n",
	"error after good ones":     "PING\r\n*1\r\n$4\r\nPING\r\n*1\r\nX\r\nPING\r\n",
	"unknown inline":            "nosuch 'a b' c\r\n",
	"HTTP":                      "POST / HTTP/1.1\r\nHost: x\r\n\r\nSET a b\r\n",
	"HTTP, host":                "GET / HTTP/1.1\r\nHost: x\r\n\r\nSET a b\r\n",
	"quit in a pipeline":        "PING\r\nQUIT\r\nPING\r\n",
	"replies off":               "CLIENT REPLY OFF\r\nPING\r\nSET a b\r\nnosuch\r\nCLIENT REPLY ON\r\nPING\r\n",
	"reply skipped":             "CLIENT REPLY SKIP\r\nSET a b\r\nGET a\r\nCLIENT REPLY SKIP\r\nCLIENT REPLY SKIP\r\nPING\r\nPING\r\n",
	"skipped reset":             "CLIENT REPLY SKIP\r\nRESET\r\nPING\r\n",
	"skip while off":            "CLIENT REPLY OFF\r\nCLIENT REPLY SKIP\r\nPING\r\nCLIENT REPLY ON\r\n",
	"skip in a transaction":     "MULTI\r\nSET a b\r\nCLIENT REPLY SKIP\r\nEXEC\r\nPING\r\n",
}

// TestProtocol compares everything that comes back for each stream until the connection is closed.
func TestProtocol(t *testing.T) {
	p := newPair(t, "2")
	for name, raw := range streams {
		t.Run(name, func(t *testing.T) {
			want, got := exchange(t, p.redis, []byte(raw)), exchange(t, p.node, []byte(raw))
			if got != want {
				t.Errorf("redis: %.300q\nnode:  %.300q", want, got)
			}
		})
	}
}
