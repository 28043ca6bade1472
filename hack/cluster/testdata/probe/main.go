// Command probe is the workload of the cluster's tests: an HTTP server that reports what a pod sees.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "get":
		request(http.MethodGet, os.Args[2], "")
	case len(os.Args) == 4 && os.Args[1] == "put":
		request(http.MethodPut, os.Args[2], os.Args[3])
	default:
		serve()
	}
}

// request is the HTTP client for "exec", since the image has no shell. It gives up on a server that does not begin to answer.
func request(method, url, content string) {
	transport := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
		ResponseHeaderTimeout: 6 * time.Second,
	}
	req, err := http.NewRequest(method, url, strings.NewReader(content))
	if err != nil {
		panic(err)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err == nil {
		defer resp.Body.Close()
		if _, err = io.Copy(os.Stdout, resp.Body); err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("answer %s", resp.Status)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve() {
	host, err := os.Hostname()
	if err != nil {
		panic(err)
	}
	fmt.Println("probe on", host, "as", os.Getuid())
	http.HandleFunc("GET /name", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, host) })
	http.HandleFunc("GET /lookup", func(w http.ResponseWriter, r *http.Request) {
		addresses, err := net.DefaultResolver.LookupHost(r.Context(), r.URL.Query().Get("name"))
		answer(w, fmt.Sprint(addresses), err)
	})
	http.HandleFunc("GET /fetch", func(w http.ResponseWriter, r *http.Request) {
		client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get(r.URL.Query().Get("url"))
		if err != nil {
			answer(w, "", err)
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		answer(w, string(body), err)
	})
	http.HandleFunc("GET /dial", func(w http.ResponseWriter, r *http.Request) {
		conn, err := net.DialTimeout("tcp", r.URL.Query().Get("address"), 5*time.Second)
		if err == nil {
			conn.Close()
		}
		answer(w, "connected", err)
	})
	http.HandleFunc("PUT /file", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = os.WriteFile("/data/file", body, 0o600)
		}
		answer(w, strconv.Itoa(len(body)), err)
	})
	http.HandleFunc("GET /file", func(w http.ResponseWriter, _ *http.Request) {
		content, err := os.ReadFile("/data/file")
		answer(w, string(content), err)
	})
	http.HandleFunc("GET /ticks", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			fmt.Fprintln(w, "tick")
			w.(http.Flusher).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	})
	panic(http.ListenAndServe(":8080", nil))
}

func answer(w http.ResponseWriter, body string, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprint(w, body)
}
