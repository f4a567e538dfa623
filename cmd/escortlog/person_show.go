package main

import (
	"github.com/escortlog/escortlog/client/view"
	"github.com/spf13/cobra"
)

func newPersonShowCommand() *cobra.Command {
	var o viewOptions
	cmd := &cobra.Command{
		Use:   "show REF --policy FILE [--log URL]",
		Short: "Everything that names one person",
		Long: `Shows every leaf that names a person, by pseudonym, in the order of the log:
enrolment, qualifications, authorisations and keys, and every session and change
in which the person asked, worked, escorted, reviewed, approved or looked on.
Where no leaf names the person, the exit code is 1.` + viewHelp,
		Example: `  escortlog person show p-c21d --policy policy.txt --log https://log.example.org --format csv`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.showTimeline(cmd, view.Person, args[0]) },
	}
	o.addFlags(cmd)
	return cmd
}
