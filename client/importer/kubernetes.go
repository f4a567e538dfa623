package importer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Kubernetes audit events (audit.k8s.io/v1, https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/),
// one a line as the API server writes them, or in an EventList as it posts them,
// whose items bear no kind and apiVersion of their own.
//
// What each becomes:
//
//	record (verb, resource, stage)                  event type         ext.category
//	pods/exec, pods/attach, switched (101):
//	  ResponseStarted                               session.started    session.start
//	  ResponseComplete                              session.ended      session.end
//	pods/exec, pods/attach, otherwise               record.observed    command.send
//	pods/portforward, …/proxy                       record.observed    access.open
//	serviceaccounts/token, or with impersonatedUser record.observed    role.assume
//	…reviews of authentication.k8s.io and
//	  authorization.k8s.io, get, list, watch, head  record.observed    read
//	create, update, patch, delete,
//	  deletecollection, and put, post               record.observed    configuration.change
//	anything else                                   record.observed    other
//
// The session is named by the auditID of its request, the target by
// namespace/resource/name. One request has a record for each stage that the
// cluster's audit policy keeps; a record's id is auditID/stage, and its time
// the stageTimestamp. The command of an exec stands in the requestURI of the
// record, but not whether and how it ran: it is no command.executed.
//
// The user of the request is the actor, with role "principal". ext.outcome is
// "failed" where the response has a code from 400 or the stage is Panic, "asked"
// before there is a response, else "succeeded".

// kubernetesEvent is what is read of a record. All else stays in it.
type kubernetesEvent struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	AuditID    string `json:"auditID"`
	Stage      string `json:"stage"`
	RequestURI string `json:"requestURI"`
	Verb       string `json:"verb"`
	User       struct {
		Username string `json:"username"`
		UID      string `json:"uid"`
	} `json:"user"`
	ImpersonatedUser jsontext.Value `json:"impersonatedUser"`
	ObjectRef        *struct {
		Resource    string `json:"resource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
		APIGroup    string `json:"apiGroup"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	ResponseStatus *struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	RequestReceivedTimestamp string `json:"requestReceivedTimestamp"`
	StageTimestamp           string `json:"stageTimestamp"`
}

func convertKubernetes(record jsontext.Value) (*draft, error) {
	var r kubernetesEvent
	if err := readRecord(record, &r); err != nil {
		return nil, fmt.Errorf("not a Kubernetes audit event: %w", err)
	}
	if (r.Kind != "Event" || r.APIVersion != "audit.k8s.io/v1") && (r.Kind != "" || r.APIVersion != "") {
		return nil, fmt.Errorf("not a Kubernetes audit event: it is %q of %q, not Event of audit.k8s.io/v1", r.Kind, r.APIVersion)
	}
	if r.AuditID == "" || r.Stage == "" || r.Verb == "" {
		return nil, errors.New("not a Kubernetes audit event: it has no auditID, stage and verb")
	}
	stamp := r.StageTimestamp
	if stamp == "" {
		stamp = r.RequestReceivedTimestamp
	}
	at, err := readTime(stamp)
	if err != nil {
		return nil, fmt.Errorf("not a Kubernetes audit event: its stageTimestamp: %w", err)
	}
	d := observed(at, r.kind(), r.AuditID+"/"+r.Stage, r.category(), r.outcome())
	if r.isShell() && r.code() == 101 && isID(r.AuditID) {
		switch {
		case r.Stage == "ResponseStarted" && isID(r.target()):
			d.ext["category"] = "session.start"
			d.started(r.AuditID, r.target(), "kubernetes")
			return d, nil
		case r.Stage == "ResponseComplete":
			d.ext["category"] = "session.end"
			d.ended(r.AuditID, "other") // the record does not say why
			return d, nil
		}
	}
	d.observe(principal(r.User.Username, r.User.UID), r.target(), "")
	return d, nil
}

// resource is what the request is about, as the API names it, or empty.
func (r *kubernetesEvent) resource() string {
	o := r.ObjectRef
	switch {
	case o == nil:
		return ""
	case o.Subresource != "":
		return o.Resource + "/" + o.Subresource
	}
	return o.Resource
}

func (r *kubernetesEvent) kind() string {
	if r.ObjectRef == nil {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		return r.Verb + " " + path
	}
	return r.Verb + " " + r.resource()
}

// target is the object, or empty where the request names none.
func (r *kubernetesEvent) target() string {
	o := r.ObjectRef
	if o == nil || o.Name == "" {
		return ""
	}
	id := o.Resource + "/" + o.Name
	if o.Namespace != "" {
		id = o.Namespace + "/" + id
	}
	return id
}

// isShell: the request runs or joins a process in a container.
func (r *kubernetesEvent) isShell() bool {
	return r.resource() == "pods/exec" || r.resource() == "pods/attach"
}

func (r *kubernetesEvent) code() int {
	if r.ResponseStatus == nil {
		return 0
	}
	return r.ResponseStatus.Code
}

func (r *kubernetesEvent) outcome() string {
	switch {
	case r.Stage == "Panic" || r.code() >= 400:
		return "failed"
	case r.code() == 0:
		return "asked"
	}
	return "succeeded"
}

func (r *kubernetesEvent) category() string {
	resource := r.resource()
	switch {
	case r.isShell():
		return "command.send"
	case resource == "pods/portforward" || strings.HasSuffix(resource, "/proxy"):
		return "access.open"
	case resource == "serviceaccounts/token" || len(r.ImpersonatedUser) > 0 && r.ImpersonatedUser.Kind() == jsontext.KindBeginObject:
		return "role.assume"
	case r.ObjectRef != nil && strings.HasSuffix(r.ObjectRef.Resource, "reviews") &&
		(r.ObjectRef.APIGroup == "authentication.k8s.io" || r.ObjectRef.APIGroup == "authorization.k8s.io"):
		return "read"
	}
	switch r.Verb {
	case "get", "list", "watch", "head":
		return "read"
	case "create", "update", "patch", "delete", "deletecollection", "put", "post":
		return "configuration.change"
	}
	return "other"
}
