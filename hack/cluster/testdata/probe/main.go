// Command probe is the workload of the cluster's tests: an HTTP server that says what a pod sees.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "get" { // for "exec": the image has no shell
		resp, err := http.Get(os.Args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		defer resp.Body.Close()
		io.Copy(os.Stdout, resp.Body)
		return
	}
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
		client := http.Client{Timeout: 5 * time.Second}
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
	panic(http.ListenAndServe(":8080", nil))
}

func answer(w http.ResponseWriter, body string, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprint(w, body)
}
