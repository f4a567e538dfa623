// Command escortlogd runs a transparency log: it takes signed events over HTTP,
// keeps the tree, has its checkpoints cosigned by witnesses, publishes them and
// serves tiles.
//
//	escortlogd init  --data DIR --origin NAME
//	escortlogd serve --data DIR --policy FILE
//
// The data directory holds db (the store), keys (the log's own signing keys),
// guard (what was last acknowledged, best kept on another disk with --guard),
// and, for a trial log only, admin.key.
package main
