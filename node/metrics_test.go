package node

import (
	"testing"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/test/metricdocs"
)

func TestMetricsAreDocumented(t *testing.T) {
	metricdocs.Compare(t, "Members", memberCollector{}, (*resp.Server)(nil).Collector())
}
