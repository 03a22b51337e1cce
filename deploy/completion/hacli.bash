# Made by `python -m cli.generate`; do not edit.
_hacli() {
  local current=${COMP_WORDS[COMP_CWORD]} before="${COMP_WORDS[*]:1:COMP_CWORD-1}"
  local line=${COMP_LINE:0:COMP_POINT} word left
  word=${line##*[[:space:]]}
  if [[ $word != -* ]]; then case "$before" in
    "") COMPREPLY=($(compgen -W "apply cib cibstatus cluster configure confirm corosync demo diff fence help history import maintenance node options plan ra report resource rollback script simulate site status transition undo verify why" -- "$current")); return ;;
    "configure") COMPREPLY=($(compgen -W "acl_group acl_target alert assist bundle clone colocation commit default-timeouts delete edit erase fencing_topology filter get_property graph group help load location modgroup monitor ms node op_defaults order plan primitive property refresh rename role rsc_defaults rsc_template rsc_ticket rsctest save schema set show simulate tag upgrade user validate-all verify xml" -- "$current")); return ;;
    "configure assist") COMPREPLY=($(compgen -W "help template weak-bonds" -- "$current")); return ;;
    "resource") COMPREPLY=($(compgen -W "ban cleanup clear constraints demote failcount help locate maintenance manage meta move operations param promote refresh restart scores secret start status stop trace unmanage untrace utilization" -- "$current")); return ;;
    "node") COMPREPLY=($(compgen -W "attribute clearstate delete fence help maintenance online ready server show standby status status-attr utilization" -- "$current")); return ;;
    "fence") COMPREPLY=($(compgen -W "confirm fence forgive help history list unfence" -- "$current")); return ;;
    "maintenance") COMPREPLY=($(compgen -W "action help off on" -- "$current")); return ;;
    "cluster") COMPREPLY=($(compgen -W "cert copy crash_test diff disable enable force-quorum geo_init geo_init_arbitrator geo_join health help init join key links move-dc quorum remove rename restart run start status stop token vote wait_for_startup" -- "$current")); return ;;
    "transition") COMPREPLY=($(compgen -W "help list save show" -- "$current")); return ;;
    "ra") COMPREPLY=($(compgen -W "classes help info lint list providers validate" -- "$current")); return ;;
    "import") COMPREPLY=($(compgen -W "corosync heartbeat help" -- "$current")); return ;;
    "cib") COMPREPLY=($(compgen -W "cibstatus commit delete diff export help history import list new orphans recover reset run sandbox use version" -- "$current")); return ;;
    "cib cibstatus") COMPREPLY=($(compgen -W "help load node op origin quorum run save show simulate ticket" -- "$current")); return ;;
    "history") COMPREPLY=($(compgen -W "config detail diff events exclude graph help info latest limit log node refresh resource session setnodes show source transition wdiff" -- "$current")); return ;;
    "script") COMPREPLY=($(compgen -W "help json list run show verify" -- "$current")); return ;;
    "site") COMPREPLY=($(compgen -W "help ticket" -- "$current")); return ;;
    "options") COMPREPLY=($(compgen -W "help reset save set show" -- "$current")); return ;;
    "cibstatus") COMPREPLY=($(compgen -W "help load node op origin quorum run save show simulate ticket" -- "$current")); return ;;
    "corosync") COMPREPLY=($(compgen -W "add-node del-node diff edit get help link log pull push reload set show status" -- "$current")); return ;;
  esac; fi
  mapfile -t COMPREPLY < <("${COMP_WORDS[0]}" --compgen "$COMP_POINT" "$COMP_LINE" 2>/dev/null)
  left=${word%"${word##*[:=]}"}
  if [[ -n $left && $COMP_WORDBREAKS == *:* ]]; then COMPREPLY=("${COMPREPLY[@]#"$left"}"); fi
  if [[ ${COMPREPLY[0]-} == *[=/] ]]; then compopt -o nospace 2>/dev/null; fi
}
complete -o default -F _hacli hacli
