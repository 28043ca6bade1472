package fleet

import (
	"context"
	"time"

	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// orderTimeout limits one request to a control port.
const orderTimeout = 30 * time.Second

// client talks to the members as the operator does.
var client = nodeclient.New(nodeclient.Timeouts{Status: orderTimeout, Order: orderTimeout})

// target returns m's control port. A fleet has no UID.
func (m *Member) target() nodeclient.Target {
	return nodeclient.Target{Address: m.Control, Member: m.Name}
}

// Status asks a member for its status.
func (m *Member) Status(ctx context.Context) (wire.Status, error) {
	return client.Status(ctx, m.target())
}
