package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

type options struct {
	down, verbose     bool
	image             string
	rate, connections int
}

// Time limits of the steps. A step that takes longer has failed.
const (
	clusterTimeout = 30 * time.Minute // the first time, Kubernetes is built from source
	installTimeout = 5 * time.Minute
	readyTimeout   = 2 * time.Minute
	changeTimeout  = time.Minute
	verifyTimeout  = time.Minute
	settle         = 2 * time.Second // time to write between two chapters

	namespace = "demo"
	workers   = 3
)

// demo is one run.
type demo struct {
	options
	tell   *teller
	stage  *stage.Stage
	store  *stage.Store
	writer *stage.Writer
}

func run(ctx context.Context, out io.Writer, o options) (err error) {
	d := &demo{options: o, tell: &teller{out: out, begun: time.Now()}}
	defer func() { err = d.end(ctx, err) }()
	for _, chapter := range []func(context.Context) error{
		d.cluster, d.install, d.createStore, d.startWriter, d.scaleUp, d.moveLeadership, d.killPod, d.killNode, d.verify,
	} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return nil
}

// end explains what went wrong, or how to look around, and removes the cluster if that was asked for.
func (d *demo) end(ctx context.Context, err error) error {
	if err != nil {
		d.tell.step("FAILED: %v", err)
		if d.store != nil {
			d.store.Diagnose(ctx, d.tell.out)
		}
	}
	if d.writer != nil {
		d.writer.Close()
	}
	if d.stage == nil {
		return told(err)
	}
	if own := d.stage.Cluster; own != nil && d.down {
		d.tell.step("remove the cluster")
		if downErr := own.Down(context.WithoutCancel(ctx)); downErr != nil {
			d.tell.line("   %v", downErr)
			err = errors.Join(err, downErr)
		}
	} else if d.store != nil {
		d.tell.farewell(d.stage.Kubeconfig, d.store.Namespace, d.store.Name, own != nil, d.down)
	}
	return told(err)
}

func told(err error) error {
	if err != nil {
		return errTold
	}
	return nil
}

func (d *demo) cluster(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	d.tell.step("a Kubernetes cluster")
	tools := &progressWriter{tell: d.tell, verbose: true}
	s, err := stage.Open(ctx, stage.Options{Workers: workers, Image: d.image, Log: tools})
	tools.verbose = d.verbose // creating the cluster may take long, what follows does not
	if err != nil {
		return err
	}
	d.stage = s
	if s.Cluster == nil {
		d.tell.line("   using the cluster of KUBECONFIG=%s: its machines will not be touched", s.Kubeconfig)
		return nil
	}
	d.tell.line("   up, with %d workers", workers)
	return nil
}

func (d *demo) install(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	d.tell.step("the operator: make image, load it, helm install")
	image, digest, err := d.stage.Image(ctx)
	if err != nil {
		return err
	}
	d.tell.line("   image %s", image)
	if err := d.forget(ctx); err != nil {
		return err
	}
	if err := d.stage.Install(ctx, image, digest); err != nil {
		return err
	}
	d.tell.line("   installed")
	return nil
}

// forget removes what earlier demos left on the own cluster, without waiting for it.
func (d *demo) forget(ctx context.Context) error {
	if d.stage.Cluster == nil {
		return nil
	}
	gone, err := d.stage.Forget(ctx, namespace)
	for _, name := range gone {
		d.tell.line("   removing %s of an earlier demo", name)
	}
	return err
}

func (d *demo) createStore(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	ns, err := d.stage.Namespace(ctx, namespace)
	if err != nil {
		return err
	}
	path := filepath.Join("config", "samples", "orders.yaml")
	d.tell.step("kubectl apply -n %s -f %s", ns, path)
	manifest, err := os.ReadFile(filepath.Join(d.stage.Root, path))
	if err != nil {
		return err
	}
	if d.store, err = d.stage.Create(ctx, ns, manifest, nil); err != nil {
		return err
	}
	return d.ready(ctx)
}

func (d *demo) ready(ctx context.Context) error {
	rs, err := d.store.Wait(ctx, d.tell.progress, stage.Ready)
	if err != nil {
		return fmt.Errorf("the store is not Ready: %w", err)
	}
	d.tell.line("   Ready: %s members, %s leads epoch %d, a write waits for %s", rs.Status.Summary.Members, rs.Status.Leader, rs.Status.Epoch, rs.Status.Summary.Sync)
	return nil
}

func (d *demo) startWriter(ctx context.Context) error {
	d.tell.step("a client writes, %d times a second, on %d connections to %s", d.rate, d.connections, v1alpha1.ServiceReadWrite(d.store.Name))
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	d.writer, err = d.store.Writer(ctx, []string{self, "writer"}, ledger.Options{
		ID: strconv.FormatInt(time.Now().UnixNano(), 36), Connections: d.connections, Rate: d.rate, Timeout: time.Second,
	})
	if err != nil {
		return err
	}
	return d.pause(ctx)
}

// pause lets the client write for a while and reports how it goes.
func (d *demo) pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(settle):
	}
	s, err := d.writer.Stats(time.Time{})
	if err != nil {
		return err
	}
	d.tell.line("   acknowledged so far %d, failed %d, outcome unknown %d", s.Acknowledged, s.Failed, s.Unknown)
	if time.Since(s.LastAcknowledged) > settle {
		return fmt.Errorf("nothing was acknowledged for %v: %s", settle, s.LastError)
	}
	return nil
}

func (d *demo) verify(ctx context.Context) error {
	d.tell.step("compare every acknowledged write with what every member holds")
	if err := d.writer.Stop(); err != nil {
		return err
	}
	members, err := d.store.Members(ctx)
	if err != nil {
		return err
	}
	r, err := d.writer.Verify(members, verifyTimeout)
	if err != nil {
		return err
	}
	for _, loss := range r.First {
		d.tell.line("   %v", loss)
	}
	d.tell.line("   %d keys on each of %d members; %d writes failed and are nowhere, of %d the outcome was unknown", r.Keys, len(r.Members), r.Failed, r.Unknown)
	d.tell.line("   %v", r)
	if !r.OK() {
		return errors.New("the store did not keep its promise")
	}
	return nil
}
