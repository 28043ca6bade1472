package ledger

import (
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// refusals are the error codes with which a store says that a write was not done. Any other error, including one that a later
// version introduces, leaves the outcome unknown.
var refusals = []string{
	"READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "OOM", "MISCONF", "NOAUTH", "WRONGPASS", "NOPERM",
	"WRONGTYPE", "BUSY", "NOREPLICAS", "ERR",
}

// dialError marks an error of connecting: nothing was sent.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// Judge returns the outcome that an error of one write implies.
func Judge(err error) Outcome {
	var dial dialError
	var reply redis.Error
	switch {
	case err == nil:
		return Acknowledged
	case errors.As(err, &dial):
		return Failed
	case errors.As(err, &reply):
		code, _, _ := strings.Cut(reply.Error(), " ")
		for _, r := range refusals {
			if code == r {
				return Failed
			}
		}
	}
	return Unknown
}
