//go:build !failpoints

package controllers

import (
	"context"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// failpoint is where a test's build of the operator can end. This build cannot.
func (p *pass) failpoint(context.Context, string, decide.Action) {}
