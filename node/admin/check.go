package admin

import (
	"errors"
	"fmt"
	"math"
	"net"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Bounds on the contents of an order.
const (
	maxRules  = 2  // a change of rules keeps the older rule beside the newer
	maxVoters = 64 // far above the API's largest store
	maxName   = 253
	maxMillis = 24 * 60 * 60 * 1000
	maxEpoch  = math.MaxInt64 / 2
)

func checkFence(r wire.FenceRequest) error { return checkEpoch(r.Epoch) }

func checkPromote(r wire.PromoteRequest) error {
	return errors.Join(
		checkEpoch(r.Epoch),
		checkRules(r.Rules),
		checkMillis("leaseDurationMillis", r.LeaseDurationMillis),
		checkMillis("grantWaitMillis", r.GrantWaitMillis),
		checkMillis("syncTimeoutMillis", r.SyncTimeoutMillis),
	)
}

func checkFollow(r wire.FollowRequest) error {
	if _, port, err := net.SplitHostPort(r.Address); err != nil || port == "" {
		return fmt.Errorf("address %q is not host:port", r.Address)
	}
	return errors.Join(checkEpoch(r.Epoch), checkName("leader", r.Leader), checkName("address", r.Address))
}

func checkConfigure(r wire.ConfigureRequest) error {
	return errors.Join(
		checkEpoch(r.Epoch),
		checkRules(r.Rules),
		checkMillis("leaseDurationMillis", r.LeaseDurationMillis),
	)
}

func checkHandover(r wire.HandoverRequest) error {
	errs := []error{checkEpoch(r.Epoch), checkName("to", r.To), checkMillis("holdMillis", r.HoldMillis)}
	if len(r.Also) > maxVoters {
		errs = append(errs, fmt.Errorf("also has %d names, more than %d", len(r.Also), maxVoters))
	}
	for _, name := range r.Also {
		errs = append(errs, checkName("also", name))
	}
	return errors.Join(errs...)
}

func checkEpoch(e replication.Epoch) error {
	switch {
	case e == 0:
		return errors.New("epoch is missing or 0")
	case e > maxEpoch: // a promise lasts forever, and there must be epochs above it
		return fmt.Errorf("epoch is %d, above %d", e, maxEpoch)
	}
	return nil
}

func checkName(field, name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("%s must have 1 to %d bytes, not %d", field, maxName, len(name))
	}
	return nil
}

func checkMillis(field string, ms int64) error {
	if ms < 0 || ms > maxMillis {
		return fmt.Errorf("%s is %d, outside 0 to %d", field, ms, maxMillis)
	}
	return nil
}

// checkRules rejects rules that make sense for no store. A rule without voters is fine: it commits nothing until one is
// added.
func checkRules(rules []replication.Rule) error {
	if len(rules) == 0 || len(rules) > maxRules {
		return fmt.Errorf("rules must number 1 to %d, not %d", maxRules, len(rules))
	}
	for i, r := range rules {
		if r.K < 0 || r.K > maxVoters || len(r.Voters) > maxVoters {
			return fmt.Errorf("rules[%d] has k %d and %d voters, outside 0 to %d", i, r.K, len(r.Voters), maxVoters)
		}
		seen := map[string]bool{}
		for _, v := range r.Voters {
			if v.Incarnation == "" || len(v.Incarnation) > maxName || len(v.Member) > maxName || v.Member == "" {
				return fmt.Errorf("rules[%d] has a voter %q without a usable name and incarnation", i, v.Member)
			}
			if seen[v.Member] {
				return fmt.Errorf("rules[%d] counts %s twice", i, v.Member)
			}
			seen[v.Member] = true
		}
	}
	return nil
}
