package peers

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/replicatedstore/replicatedstore/hack/local/process"
)

// Etcd is an etcd cluster with default settings.
type Etcd struct {
	group
	Endpoints []string // host:port of every member's client port
}

// StartEtcd starts members of the etcd program binary, with their data below dir, and waits until each of them is healthy.
func StartEtcd(ctx context.Context, binary, dir string, members int) (_ *Etcd, err error) {
	ports, err := process.FreePorts(2 * members)
	if err != nil {
		return nil, err
	}
	e := &Etcd{}
	defer func() {
		if err != nil {
			e.Stop()
		}
	}()
	var cluster []string
	for i := range members {
		e.Endpoints = append(e.Endpoints, fmt.Sprintf("127.0.0.1:%d", ports[2*i]))
		cluster = append(cluster, fmt.Sprintf("m%d=http://127.0.0.1:%d", i+1, ports[2*i+1]))
	}
	for i := range members {
		name := fmt.Sprintf("m%d", i+1)
		client, peer := "http://"+e.Endpoints[i], fmt.Sprintf("http://127.0.0.1:%d", ports[2*i+1])
		err := e.start([]string{
			binary, "--name", name, "--data-dir", filepath.Join(dir, "etcd-"+name), "--log-level", "error",
			"--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", strings.Join(cluster, ","), "--initial-cluster-token", filepath.Base(dir),
		}, filepath.Join(dir, "etcd-"+name+".log"))
		if err != nil {
			return nil, err
		}
	}
	return e, e.await(ctx, "etcd", func() error {
		for _, endpoint := range e.Endpoints {
			if err := healthy(ctx, endpoint); err != nil {
				return err
			}
		}
		return nil
	})
}

func healthy(ctx context.Context, endpoint string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+endpoint+"/health", nil)
	if err != nil {
		return err
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return fmt.Errorf("%s says %s", endpoint, a.Status)
	}
	return nil
}
