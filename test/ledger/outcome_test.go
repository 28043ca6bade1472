package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/redis/go-redis/v9"
)

// reply is an error reply of a store.
type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}

var _ redis.Error = reply("")

func TestJudgeError(t *testing.T) {
	tests := map[string]struct {
		err  error
		want Outcome
	}{
		"none":                       {nil, Acknowledged},
		"dial":                       {fmt.Errorf("get connection: %w", dialError{errors.New("refused")}), Failed},
		"read only":                  {reply("READONLY You can't write against a read only replica."), Failed},
		"bad command":                {reply("ERR unknown command"), Failed},
		"said to be unknown":         {reply("OUTCOMEUNKNOWN the outcome of this write is unknown"), Unknown},
		"a code nobody knows":        {reply("ERRATIC"), Unknown},
		"a code of a later version":  {reply("UNCERTAIN maybe"), Unknown},
		"connection cut":             {io.EOF, Unknown},
		"timed out":                  {context.DeadlineExceeded, Unknown},
		"read only, but not a reply": {errors.New("READONLY"), Unknown},
	}
	for name, tc := range tests {
		if got := Judge(tc.err); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}
