package stage

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// dial connects to a pod's client port through the API server, as `kubectl port-forward` does. address names a pod or the leader's
// Service, which is resolved anew for every connection.
func (s *Store) dial(ctx context.Context, address string) (net.Conn, error) {
	pod, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if pod == v1alpha1.ServiceReadWrite(s.Name) {
		if pod, err = s.leaderPod(ctx); err != nil {
			return nil, err
		}
	}
	transport, upgrader, err := spdy.RoundTripperFor(s.Config)
	if err != nil {
		return nil, fmt.Errorf("forward to %s: %w", pod, err)
	}
	url := s.Kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(s.Namespace).Name(pod).SubResource("portforward").URL()
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	tunnel, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, fmt.Errorf("forward to %s: %w", pod, err)
	}
	conn, err := open(tunnel)
	if err != nil {
		tunnel.Close()
		return nil, fmt.Errorf("forward to %s: %w", pod, err)
	}
	return conn, nil
}

func (s *Store) leaderPod(ctx context.Context) (string, error) {
	var slices discoveryv1.EndpointSliceList
	service := v1alpha1.ServiceReadWrite(s.Name)
	if err := s.Client.List(ctx, &slices, client.InNamespace(s.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: service}); err != nil {
		return "", fmt.Errorf("find where the Service %s leads: %w", service, err)
	}
	for _, slice := range slices.Items {
		for _, e := range slice.Endpoints {
			if e.TargetRef != nil {
				return e.TargetRef.Name, nil
			}
		}
	}
	return "", fmt.Errorf("no pod is behind the Service %s", service)
}

// open makes a connection out of a tunnel's two streams. The near end is one end of a net.Pipe, since streams have no deadlines.
func open(tunnel httpstream.Connection) (net.Conn, error) {
	header := http.Header{}
	header.Set(corev1.PortHeader, strconv.Itoa(v1alpha1.PortClient))
	header.Set(corev1.PortForwardRequestIDHeader, "0")
	header.Set(corev1.StreamType, corev1.StreamTypeError)
	errs, err := tunnel.CreateStream(header)
	if err != nil {
		return nil, fmt.Errorf("open the error stream: %w", err)
	}
	errs.Close() // we send nothing on it
	header.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := tunnel.CreateStream(header)
	if err != nil {
		return nil, fmt.Errorf("open the data stream: %w", err)
	}
	near, far := net.Pipe()
	end := func() {
		far.Close()
		tunnel.Close()
	}
	go func() {
		defer end()
		_, _ = io.Copy(far, data) // either way, the connection ends with it
	}()
	go func() {
		defer end()
		_, _ = io.Copy(data, far)
	}()
	go func() {
		if said, _ := io.ReadAll(errs); len(said) > 0 { // the pod does not listen, or is gone
			end()
		}
	}()
	return near, nil
}
