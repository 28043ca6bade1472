package lease

import (
	"fmt"
	"net/http"
	"strings"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
)

// InCluster returns a client for the Lease "namespace/name", and the Lease's name. It uses the credentials of the pod
// that this process runs in. The pod's role needs the verbs get and patch on that Lease.
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

// apiClient is client-go's client with a way to abandon a dead connection.
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

// CloseIdle drops idle connections. HTTP/2 keeps using a connection for half a minute after the network beneath it is
// gone, which is longer than most Leases last.
func (c *apiClient) CloseIdle() { utilnet.CloseIdleConnectionsFor(c.transport) }
