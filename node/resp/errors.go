package resp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Redis's error texts. Each starts with its code.
const (
	errSyntax       = "ERR syntax error"
	errNotInteger   = "ERR value is not an integer or out of range"
	errNotFloat     = "ERR value is not a valid float"
	errOutOfRange   = "ERR value is out of range, value must between -2147483648 and 2147483647"
	errNoKey        = "ERR no such key"
	errSameObject   = "ERR source and destination objects are the same"
	errWrongType    = "WRONGTYPE Operation against a key holding the wrong kind of value"
	errTooLong      = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
	errReadOnly     = "READONLY You can't write against a read only replica."
	errLoading      = "LOADING Redis is loading the dataset in memory"
	errMasterDown   = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
	errMaxClients   = "ERR max number of clients reached"
	errExecAbort    = "EXECABORT Transaction discarded because of previous errors."
	errNoMulti      = "ERR Command not allowed inside a transaction"
	errClientName   = "ERR Client names cannot contain spaces, newlines or special characters."
	errClusterOff   = "ERR This instance has cluster support disabled"
	errWaitOnFollow = "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated."
)

// codeUnknown starts the reply to a write whose outcome cannot be learned on this connection: it may or may not take effect. Clients do not
// know this code, and so never retry blindly. The connection is closed after it.
const codeUnknown = "OUTCOMEUNKNOWN"

// ErrOutputLimit is the error with which a connection is closed whose replies exceed Options.MaxOutput.
var ErrOutputLimit = errors.New("output limit exceeded")

// notInTime is the error of a write that was not committed within this time.
type notInTime time.Duration

func (t notInTime) Error() string {
	return fmt.Sprintf("the leader and enough synchronous followers did not have it on disk within %v", time.Duration(t))
}

// Is makes errors.Is(err, context.DeadlineExceeded) true, since notInTime is the cause of a context whose deadline has passed.
func (notInTime) Is(target error) bool { return target == context.DeadlineExceeded }

// codeFull starts the reply to a write that was refused because the leader's volume is full.
const codeFull = "STORAGEFULL"

func storageFull(why string) string { return codeFull + " nothing was written: " + why }

// codeNoReplicas starts the reply to a write that a leader refuses because it could not be committed. Redis uses the same code for writes
// while too few replicas are connected (min-replicas-to-write).
const codeNoReplicas = "NOREPLICAS"

func noReplicas(unheard time.Duration) string {
	return fmt.Sprintf("%s nothing was written: the leader has heard from too few synchronous followers for %v; try again once they are back",
		codeNoReplicas, unheard.Round(time.Second))
}

// codeTryAgain starts the reply to a command that was not run but may succeed a moment later. codeExecAbort starts the reply to an EXEC that
// ran nothing.
const (
	codeTryAgain  = "TRYAGAIN"
	codeExecAbort = "EXECABORT"
)

// codeMasterDown starts the reply to a read that a member must not answer.
const codeMasterDown = "MASTERDOWN"

const aloneMayNotRead = codeMasterDown + " too few synchronous followers have been heard for "

// readsAlone returns the error reply to a read at a leader that must not answer it and hears from too few followers to be allowed to.
func readsAlone(unheard time.Duration) string {
	return fmt.Sprintf("%s%v; another member may lead by now", aloneMayNotRead, unheard.Round(time.Second))
}

func unknownOutcome(cause error) string {
	return fmt.Sprintf("%s the outcome of this write is unknown; it may or may not have been applied: %v", codeUnknown, cause)
}

func unknownBefore(cause error) string {
	return fmt.Sprintf("%s this command follows a write in the same pipeline whose outcome is unknown: %v", codeUnknown, cause)
}

// execAborted returns the error reply to an EXEC that was itself refused with text.
func execAborted(text string) string {
	return codeExecAbort + " Transaction discarded because of: " + strings.TrimPrefix(text, "ERR ")
}

func arityError(c *command) string {
	return "ERR wrong number of arguments for '" + c.name + "' command"
}

// unknownCommand returns the error reply to args that name no command, as Redis's commandCheckExistence does.
func unknownCommand(t *table, args [][]byte) string {
	if c := t.byName[string(lower(nil, args[0]))]; c != nil && len(args) > 1 {
		return fmt.Sprintf("ERR unknown subcommand '%s'. Try %s HELP.", clip(args[1], 128), upper(args[0]))
	}
	var rest strings.Builder
	for _, arg := range args[1:] {
		if rest.Len() >= 128 {
			break
		}
		fmt.Fprintf(&rest, "'%s' ", clip(arg, 128-rest.Len()))
	}
	return fmt.Sprintf("ERR unknown command '%s', with args beginning with: %s", clip(args[0], 128), rest.String())
}

// clip returns at most n bytes of b, up to the first NUL, as C's %.*s prints it.
func clip(b []byte, n int) []byte {
	b = b[:min(len(b), n)]
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return b
}

func upper(b []byte) string { return strings.ToUpper(string(lower(nil, b))) }
