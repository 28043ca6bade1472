//go:build !failpoints

package controllers

import (
	"context"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// failpoint is a place where a test build of the operator can be made to exit. This build does nothing here.
func (p *pass) failpoint(context.Context, string, decide.Action) {}
