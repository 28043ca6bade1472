package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/render"
)

// tryPod asks the API server, in a dry run, whether it takes the pod that a member would get now, and remembers what it says. It is asked
// under the member's own name, as everything that judges pods would see it: that the name is taken is found last. And before it what
// the pod refers to is applied, as before a pod is made.
func (p *pass) tryPod(ctx context.Context, a decide.TryPod) error {
	if err := p.applyEach(ctx, render.Accounts(p.store)); err != nil {
		p.warnOf("Try", a.Member, v1alpha1.ReasonApplyFailed, err)
	}
	ac := render.Pod(p.store, a.Ordinal, p.Options)
	_, hash, err := identify(ac)
	if err != nil {
		return err
	}
	b, err := json.Marshal(ac)
	if err != nil {
		return fmt.Errorf("encode pod: %w", err)
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal(b, pod); err != nil {
		return fmt.Errorf("decode pod: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, trialPatience)
	defer cancel()
	done, err := p.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	t := trial{ordinal: a.Ordinal, hash: hash}
	err = p.Client.Create(ctx, pod, client.DryRunAll, client.FieldOwner(v1alpha1.FieldOwner))
	if t.refused, t.unclear = verdict(err); t.refused == "" && !p.roomFor(ctx, a.Member, err) {
		t.refused = brief(reasonOf(err))
	}
	t.at = p.Clock.Now()
	p.trial = t
	return nil
}

// trialPatience bounds a dry run: the store is not watched meanwhile, and who judges pods may hang.
const trialPatience = 2 * time.Second

// verdict reads how a dry run ended: why the pod is refused, "" when it is not, and whether that is unclear.
func verdict(err error) (refused string, unclear bool) {
	switch {
	case err == nil, apierrors.IsAlreadyExists(err):
		return "", false
	case isOverQuota(err):
		return "", false // the pod that goes frees what it has, see roomFor; the quota is judged last
	case apierrors.IsBadRequest(err) && strings.Contains(err.Error(), "does not support dry run"):
		return "", false // an old webhook that nobody can ask
	default:
		return brief(reasonOf(err)), !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) && !apierrors.IsBadRequest(err)
	}
}

// brief is a text as it fits into a sentence, and into an event with others.
func brief(text string) string { return cut(strings.TrimRight(text, ". \n"), 640) }

// noted is a text as it fits into an event: the API server refuses one whose note is longer than 1024 bytes.
func noted(text string) string { return cut(text, 1000) }

// cut is a text of most bytes, or some more where it says that there was more.
func cut(text string, most int) string {
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " ..."
	}
	return text
}

// trialForgotten is after how long a trial is out of use: one that matters is renewed before.
const trialForgotten = 2 * time.Minute

// trialNow is the newest trial, if it was of the template as it is now.
func (p *pass) trialNow(now time.Time) (decide.Trial, error) {
	t := p.trial
	if t.at.IsZero() {
		return decide.Trial{}, nil
	}
	_, hash, err := identify(render.Pod(p.store, t.ordinal, p.Options))
	if err != nil {
		return decide.Trial{}, err
	}
	if hash != t.hash || now.Sub(t.at) >= trialForgotten {
		p.trial = trial{}
		return decide.Trial{}, nil
	}
	member := v1alpha1.MemberName(p.store.Name, t.ordinal)
	return decide.Trial{Asked: true, Member: member, Ago: now.Sub(t.at), Refused: t.refused, Unclear: t.unclear}, nil
}
