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

// tryPod asks the API server, in a dry run, whether it accepts the pod that a member would get now, and remembers the
// answer. It uses the member's own name, so that everything that judges pods sees the pod as it would be; that the name is
// taken is detected last. Before that it applies what the pod refers to, as before a pod is created.
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
	err = p.Client.Create(ctx, pod, client.DryRunAll, client.FieldOwner(v1alpha1.FieldOwner))
	refused, unclear := verdict(err)
	if refused == "" && !p.roomFor(ctx, a.Member, err) {
		refused = brief(reasonOf(err))
	}
	p.Tried = decide.TriedAt(p.Clock.Now(), a.Member, hash, refused, unclear)
	return nil
}

// trialPatience bounds a dry run: the store is not looked at meanwhile, and a webhook that judges pods may hang.
const trialPatience = 2 * time.Second

// verdict interprets the result of a dry run: why the pod is refused, "" if it is not, and whether that is unclear.
func verdict(err error) (refused string, unclear bool) {
	switch {
	case err == nil, apierrors.IsAlreadyExists(err):
		return "", false
	case isOverQuota(err):
		return "", false // quota is judged last, and deleting the old pod frees its share; see roomFor
	case apierrors.IsBadRequest(err) && strings.Contains(err.Error(), "does not support dry run"):
		return "", false // an old webhook, which cannot be asked
	default:
		return brief(reasonOf(err)), !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) && !apierrors.IsBadRequest(err)
	}
}

// brief shortens a text to fit into a sentence, and into an event with others.
func brief(text string) string { return cut(strings.TrimRight(text, ". \n"), 640) }

// inOneLine shortens an error to fit into a sentence.
func inOneLine(err error) string { return brief(strings.ReplaceAll(distinct(err.Error()), "\n", "; ")) }

// noted shortens a text to fit into an event: the API server rejects a note longer than 1024 bytes.
func noted(text string) string { return cut(text, 1000) }

// cut shortens a text to at most most bytes, plus a mark if something was cut.
func cut(text string, most int) string {
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " ..."
	}
	return text
}

// trialNow returns the newest trial, if it was of the template as it is now.
func (p *pass) trialNow(now time.Time) (decide.Trial, error) {
	ordinal, ok := v1alpha1.MemberOrdinal(p.store.Name, p.Tried.Member())
	if !ok {
		return decide.Trial{}, nil // no pod was tried
	}
	_, hash, err := identify(render.Pod(p.store, ordinal, p.Options))
	if err != nil {
		return decide.Trial{}, err
	}
	return p.Tried.Now(hash, now), nil
}
