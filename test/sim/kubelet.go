package sim

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// Hooks are the callbacks through which the kubelets act.
type Hooks struct {
	// Start runs a member's process on a booted host (Host.Process), with the volume of its claim.
	Start func(name, host string, claim types.UID)
	// Stop asks a process to end. If it has not ended when its grace period is over, it is killed.
	Stop func(name, host string)
	// PowerLost is called after the node of a killed process lost its power; the volume loses what was not synced. May be nil.
	PowerLost func(name string, claim types.UID)
	// Wipe is called when the claim and its volume are gone.
	Wipe func(claim types.UID)
	// Ready returns whether the process is ready; nil: always.
	Ready func(host string) bool
}

// Kubelets run the API's pods: they assign each pod a host, start its process, restart it after it ends, and stop it when the pod
// is deleted. They look at the API's objects directly, some time after these change. A claim's volume is bound to one node. So a
// pod waits for its node to come back, and also for a claim that is missing or being deleted.
type Kubelets struct {
	// Reuse is the share of new pods that get the address of an earlier pod.
	Reuse float64

	api     *API
	hooks   Hooks
	nodes   []string
	lost    map[string]bool // nodes without power
	running []*container    // in start order
	free    []string        // hosts of pods that are gone
	hosts   int
	due     *Timer
}

// container is a pod's presence on a node, from the assignment of its address until its process is gone for good.
type container struct {
	k          *Kubelets
	uid, claim types.UID
	name       string
	node, host string
	restarts   int
	stopping   bool
}

const (
	nodeCount   = 5
	kubeletLook = time.Second // period of the regular look at everything
	maxRestart  = 5 * time.Second
)

// NewKubelets runs the pods of an API server.
func (a *API) NewKubelets(hooks Hooks) *Kubelets {
	k := &Kubelets{Reuse: 0.3, api: a, hooks: hooks, lost: map[string]bool{}}
	for n := range nodeCount {
		k.nodes = append(k.nodes, "node-"+strconv.Itoa(n+1))
	}
	a.changed = k.soon
	k.look()
	return k
}

// Hosts maps each running pod's name to its host.
func (k *Kubelets) Hosts() map[string]string {
	out := map[string]string{}
	for _, c := range k.running {
		out[c.name] = c.host
	}
	return out
}

// Node returns the node on which the named pod runs, or "" if it does not run.
func (k *Kubelets) Node(name string) string {
	for _, c := range k.running {
		if c.name == name {
			return c.node
		}
	}
	return ""
}

// LoseNode cuts the power of a node: its hosts leave the network, and its processes die.
func (k *Kubelets) LoseNode(node string) {
	if node == "" || k.lost[node] {
		return
	}
	k.lost[node] = true
	for _, c := range slices.Clone(k.running) {
		if c.node != node {
			continue
		}
		h := k.api.net.Host(c.host)
		h.SetGone(true)
		h.Kill()
		if k.hooks.PowerLost != nil {
			k.hooks.PowerLost(c.name, c.claim)
		}
	}
}

// RestoreNode restores a node's power.
func (k *Kubelets) RestoreNode(node string) {
	delete(k.lost, node)
	for _, c := range k.running {
		if c.node == node {
			k.api.net.Host(c.host).SetGone(false)
			c.startSoon()
		}
	}
	k.soon()
}

// RestoreNodes restores the power of every node.
func (k *Kubelets) RestoreNodes() {
	for _, n := range slices.Sorted(maps.Keys(k.lost)) {
		k.RestoreNode(n)
	}
}

// soon schedules a look a moment later.
func (k *Kubelets) soon() {
	l := k.api.loop
	if at := l.Between(5*time.Millisecond, 100*time.Millisecond); k.due == nil || k.due.at > l.now+at {
		if k.due != nil {
			k.due.Stop()
		}
		k.due = l.After(at, k.look)
	}
}

// look reconciles what runs with what should run.
func (k *Kubelets) look() {
	k.due = nil
	for _, c := range slices.Clone(k.running) {
		p := k.api.pods[c.name]
		switch {
		case p == nil || p.UID != c.uid || p.Deleting || p.Failed:
			c.stopSoon()
		case k.hooks.Ready != nil:
			c.report(k.hooks.Ready(c.host))
		}
	}
	for _, name := range k.api.Pods() {
		k.admit(k.api.pods[name])
	}
	for _, name := range slices.Sorted(maps.Keys(k.api.claims)) {
		k.collect(k.api.claims[name])
	}
	if k.due == nil {
		k.due = k.api.loop.After(kubeletLook, k.look)
	}
}

// admit gives a pod that has none an address and a process, if its claim permits.
func (k *Kubelets) admit(p *podObject) {
	if slices.ContainsFunc(k.running, func(c *container) bool { return c.uid == p.UID }) {
		return
	}
	if p.Deleting {
		delete(k.api.pods, p.name)
		k.api.publishObjects()
		return
	}
	claim := k.api.claims[p.name]
	if claim == nil || claim.Deleting || claim.Lost || p.Failed || k.uses(claim.UID) {
		return
	}
	node := claim.node
	if node == "" {
		node = k.emptiest()
	}
	if node == "" || k.lost[node] {
		return
	}
	if claim.node == "" {
		k.api.setClaim(p.name, func(c *claimObject) { c.node = node })
	}
	c := &container{k: k, uid: p.UID, claim: claim.UID, name: p.name, node: node, host: k.address()}
	k.running = append(k.running, c)
	k.api.net.Host(c.host).SetGone(false)
	k.api.setPod(p.name, func(o *decide.Pod) { o.IP, o.Node = c.host, node })
	c.startSoon()
}

func (k *Kubelets) uses(claim types.UID) bool {
	return slices.ContainsFunc(k.running, func(c *container) bool { return c.claim == claim })
}

// emptiest returns the powered node that runs the fewest pods, or "" if no node has power.
func (k *Kubelets) emptiest() (node string) {
	least := 0
	for _, n := range k.nodes {
		count := 0
		for _, c := range k.running {
			if c.node == n {
				count++
			}
		}
		if !k.lost[n] && (node == "" || count < least) {
			node, least = n, count
		}
	}
	return node
}

// address returns a new host, or the host of a pod that is gone.
func (k *Kubelets) address() string {
	if n := len(k.free); n > 0 && k.api.loop.Chance(k.Reuse) {
		i := k.api.loop.Rand.IntN(n)
		host := k.free[i]
		k.free = slices.Delete(k.free, i, i+1)
		return host
	}
	k.hosts++
	return "10.0.0." + strconv.Itoa(k.hosts)
}

// collect removes a claim that is being deleted and that no pod uses any more.
func (k *Kubelets) collect(claim *claimObject) {
	if claim.Deleting && !k.uses(claim.UID) {
		delete(k.api.claims, claim.name)
		k.api.wiped[claim.UID] = true
		if k.hooks.Wipe != nil {
			k.hooks.Wipe(claim.UID)
		}
		k.api.publishObjects()
	}
}

func (c *container) startSoon() {
	wait := c.k.api.loop.Between(20*time.Millisecond, 400*time.Millisecond) << min(c.restarts, 4)
	c.k.api.loop.After(min(wait, maxRestart), c.start)
}

// start runs the process, unless it already runs or should not run.
func (c *container) start() {
	h := c.k.api.net.Host(c.host)
	if c.stopping || h.process != nil || c.k.lost[c.node] || !slices.Contains(c.k.running, c) {
		return
	}
	p := h.Boot(c.name)
	began := c.k.api.loop.now
	p.OnExit(func() {
		c.report(false)
		if c.k.api.loop.now-began > 10*time.Second {
			c.restarts = 0
		}
		c.restarts++
		if !c.stopping && !c.k.lost[c.node] {
			c.startSoon()
		}
	})
	c.report(c.k.hooks.Ready == nil)
	c.k.hooks.Start(c.name, c.host, c.claim)
}

// report writes a change of readiness into the pod.
func (c *container) report(ready bool) {
	if p := c.k.api.pods[c.name]; p != nil && p.UID == c.uid && p.Ready != ready {
		c.k.api.setPod(c.name, func(p *decide.Pod) { p.Ready = ready })
	}
}

// stopSoon asks the process to end, and kills it a while later. The kubelet of a lost node does nothing.
func (c *container) stopSoon() {
	if c.stopping || c.k.lost[c.node] {
		return
	}
	c.stopping = true
	l, h := c.k.api.loop, c.k.api.net.Host(c.host)
	grace := l.Between(20*time.Millisecond, 1500*time.Millisecond)
	if h.process == nil {
		grace = 0
	} else if c.k.hooks.Stop != nil {
		c.k.hooks.Stop(c.name, c.host)
	}
	l.After(grace, func() {
		h.Kill()
		h.SetGone(true)
		c.k.running = slices.DeleteFunc(c.k.running, func(o *container) bool { return o == c })
		c.k.free = append(c.k.free, c.host)
		if p := c.k.api.pods[c.name]; p != nil && p.UID == c.uid && p.Deleting {
			delete(c.k.api.pods, c.name)
			c.k.api.publishObjects()
		}
		c.k.soon()
	})
}
