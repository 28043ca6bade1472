//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
)

// A bad API server is a good one behind a proxy. The proxy runs on the control plane's machine, where traffic from pods to the API
// server is redirected to it: the operator and the members see the faults, kubelets and controllers do not.

// The faults hit requests other than watches, in turn and not at random, because a failover makes few requests.
const (
	slowAtMost   = 400 * time.Millisecond
	refuseEvery  = 5 // 429, nothing was done
	writesRound  = 5 // of as many writes, one each:
	conflictTurn = 1 // 409, nothing was done
	lateTurn     = 3 // 504 after it was done
	apiProxyPort = 6444
)

// injected counts the proxy's actions.
type injected struct {
	Passed, Refused, Conflicts, Late atomic.Int64
}

type injectedCounts struct {
	Passed, Refused, Conflicts, Late int64
}

// badAPI starts the proxy. The returned function ends it and returns what was done to requests.
func badAPI(ctx context.Context, c *stage.Cluster) func() injectedCounts {
	pki := filepath.Join(filepath.Dir(world.Kubeconfig), "pki")
	p, err := c.StartOn(ctx, "api", self(), apiProxyArgument, filepath.Join(pki, "apiserver.crt"), filepath.Join(pki, "apiserver.key"))
	Expect(err).NotTo(HaveOccurred())
	answers := json.NewDecoder(p.Out)
	var counts injectedCounts
	Expect(answers.Decode(&counts)).To(Succeed(), p.Said()) // it is set up
	ended := false
	return func() injectedCounts {
		if !ended {
			ended = true
			p.In.Close()
			Expect(answers.Decode(&counts)).To(Succeed(), p.Said())
			p.Close()
		}
		return counts
	}
}

const apiProxyArgument = "api-proxy"

// apiProxy serves until its input ends.
func apiProxy(cert, key string, in io.Reader, out io.Writer) error {
	var n injected
	target, err := url.Parse("https://127.0.0.1:6443")
	if err != nil {
		return err
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.FlushInterval = -1 // for watches
	forward.Transport = &http.Transport{
		// This is the host's own API server, whose certificate does not name the loopback address.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true, //nolint:gosec // see above
	}
	server := &http.Server{Addr: ":" + strconv.Itoa(apiProxyPort), Handler: misbehave(forward, &n)}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServeTLS(cert, key) }()
	if err := redirect(); err != nil {
		return err
	}
	defer exec.Command("nft", "delete", "table", "ip", "apifault").Run()
	tell := func() error {
		return json.NewEncoder(out).Encode(injectedCounts{n.Passed.Load(), n.Refused.Load(), n.Conflicts.Load(), n.Late.Load()})
	}
	if err := tell(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, in)
		close(ended)
	}()
	select {
	case err := <-failed:
		return err
	case <-ended:
	}
	// Close the connections while they are still redirected, so that their other ends notice.
	err = server.Close()
	time.Sleep(300 * time.Millisecond)
	return errors.Join(err, tell())
}

// redirect redirects what comes from pods, including open connections, which thereby break.
func redirect() error {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`table ip apifault {
	chain turn {
		type nat hook prerouting priority dstnat;
		ip saddr 10.244.0.0/16 tcp dport 6443 redirect to :%d
	}
}`, apiProxyPort))
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("turn the pods' traffic: %w: %s", err, said)
	}
	// Known flows keep their path until they are forgotten. There may be none.
	_ = exec.Command("conntrack", "-D", "-p", "tcp", "--dport", "6443").Run()
	return nil
}

func misbehave(next http.Handler, n *injected) http.Handler {
	var requests, writes atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") == "true" {
			next.ServeHTTP(w, r)
			return
		}
		time.Sleep(rand.N(slowAtMost))
		if requests.Add(1)%refuseEvery == 0 {
			n.Refused.Add(1)
			w.Header().Set("Retry-After", "1")
			refuse(w, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)
			return
		}
		turn := int64(-1)
		if r.Method != http.MethodGet {
			turn = writes.Add(1) % writesRound
		}
		switch turn {
		case conflictTurn:
			n.Conflicts.Add(1)
			refuse(w, http.StatusConflict, metav1.StatusReasonConflict)
		case lateTurn:
			n.Late.Add(1)
			next.ServeHTTP(dropped{http.Header{}}, r)
			refuse(w, http.StatusGatewayTimeout, metav1.StatusReasonTimeout)
		default:
			n.Passed.Add(1)
			next.ServeHTTP(w, r)
		}
	})
}

func refuse(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Message: "a test made the API server answer so", Reason: reason, Code: int32(code),
	})
}

// dropped is a response that nobody receives.
type dropped struct{ header http.Header }

func (d dropped) Header() http.Header       { return d.header }
func (dropped) Write(p []byte) (int, error) { return len(p), nil }
func (dropped) WriteHeader(int)             {}

func init() {
	helpers[apiProxyArgument] = func(args []string) error {
		if len(args) != 2 {
			return fmt.Errorf("%s: want a certificate and its key", apiProxyArgument)
		}
		return apiProxy(args[0], args[1], os.Stdin, os.Stdout)
	}
}
