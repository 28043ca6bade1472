package apiserver_test

import (
	"fmt"
	"os/exec"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"github.com/replicatedstore/replicatedstore/controllers/render"
)

// accepts runs a program with flags that it must parse before it prints its version and exits.
func accepts(binary string, flags []string) {
	GinkgoHelper()
	command := exec.Command(binary, append(slices.Clone(flags), "--version")...)
	session, err := gexec.Start(command, GinkgoWriter, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	Eventually(session, bounded).Should(gexec.Exit(0), "%s %v: %s", binary, flags, session.Err.Contents())
}

var _ = Describe("programs take the flags they are started with", func() {
	DescribeTable("the data node, as rendered from", func(ctx SpecContext, spec string) {
		binary, err := gexec.Build("github.com/replicatedstore/replicatedstore/cmd/node")
		Expect(err).NotTo(HaveOccurred())
		pod := render.Pod(created(ctx, "orders", spec), 1, render.Options{Image: "example/node:v1"})
		container := pod.Spec.Containers[0]
		Expect(container.Command).To(Equal([]string{"/node"}), "the image has the program there")
		accepts(binary, container.Args)
	},
		Entry("the smallest spec", storage),
		Entry("a spec that says everything about the node", storage+
			"resources: {limits: {memory: 1Gi}}\nreads: {consistency: Linearizable}\n"+
			"node: {maxClients: 7, maxValueSize: 1Mi, memory: 64Mi, logRetention: 64Mi, seedRate: 50Mi}\n"+
			"auth: {passwordSecret: {name: orders-auth}}"),
	)

	It("the operator, as in config/manager", func() {
		binary, err := gexec.Build("github.com/replicatedstore/replicatedstore/cmd/operator")
		Expect(err).NotTo(HaveOccurred())
		for _, o := range manifestsOf("manager") {
			if o.GetKind() != "Deployment" {
				continue
			}
			containers := o.Object["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)
			var flags []string
			for _, flag := range containers[0].(map[string]any)["args"].([]any) {
				flags = append(flags, fmt.Sprint(flag))
			}
			Expect(flags).To(ContainElement(HavePrefix("--node-image=")))
			accepts(binary, flags)
			return
		}
		Fail("config/manager has no Deployment")
	})
})
