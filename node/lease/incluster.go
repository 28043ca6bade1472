package lease

import (
	"fmt"
	"net/http"
	"strings"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
)

// InCluster returns a client of the Lease "namespace/name" with the credentials of the pod that this process runs in. The
// pod's role needs the verbs get and patch on that Lease.
func InCluster(namespacedName string) (Client, string, error) {
	namespace, name, ok := strings.Cut(namespacedName, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return nil, "", fmt.Errorf("lease %q is not namespace/name", namespacedName)
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, "", fmt.Errorf("find the API server: %w", err)
	}
	c, err := newClient(config, namespace)
	return c, name, err
}

// apiClient is client-go's with a way to leave a connection that has gone dead.
type apiClient struct {
	coordinationv1client.LeaseInterface
	transport http.RoundTripper
}

func newClient(config *rest.Config, namespace string) (*apiClient, error) {
	h, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	c, err := coordinationv1client.NewForConfigAndClient(config, h)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	return &apiClient{c.Leases(namespace), h.Transport}, nil
}

// CloseIdle drops connections. HTTP/2 keeps using one connection for half a minute after the network beneath it is gone,
// which is longer than most Leases last.
func (c *apiClient) CloseIdle() { utilnet.CloseIdleConnectionsFor(c.transport) }
