# Made by `python -m cli.generate`; do not edit.
function __hacli_before
    set -l words (commandline -opc)
    string join ' ' -- $words[2..-1]
end
function __hacli_rest
    set -l line (commandline -cp)
    command hacli --compgen (string length -- $line) $line 2>/dev/null
end
function __hacli_knows
    set -l before (__hacli_before)
    not string match -q -- '-*' (commandline -ct); and test "$before" = "$argv[1]"
end
complete -c hacli -f
complete -c hacli -n "__hacli_knows ''" -a 'apply cib cibstatus cluster configure confirm corosync demo diff fence help history import maintenance node options plan ra report resource rollback script simulate site status transition undo verify why'
complete -c hacli -n "__hacli_knows 'configure'" -a 'acl_group acl_target alert assist bundle clone colocation commit default-timeouts delete edit erase fencing_topology filter get_property graph group help load location modgroup monitor ms node op_defaults order plan primitive property refresh rename role rsc_defaults rsc_template rsc_ticket rsctest save schema set show simulate tag upgrade user validate-all verify xml'
complete -c hacli -n "__hacli_knows 'configure assist'" -a 'help template weak-bonds'
complete -c hacli -n "__hacli_knows 'resource'" -a 'ban cleanup clear constraints demote failcount help locate maintenance manage meta move operations param promote refresh restart scores secret start status stop trace unmanage untrace utilization'
complete -c hacli -n "__hacli_knows 'node'" -a 'attribute clearstate delete fence help maintenance online ready server show standby status status-attr utilization'
complete -c hacli -n "__hacli_knows 'fence'" -a 'confirm fence forgive help history list unfence'
complete -c hacli -n "__hacli_knows 'maintenance'" -a 'action help off on'
complete -c hacli -n "__hacli_knows 'cluster'" -a 'cert copy crash_test diff disable enable force-quorum geo_init geo_init_arbitrator geo_join health help init join key links move-dc quorum remove rename restart run start status stop token vote wait_for_startup'
complete -c hacli -n "__hacli_knows 'transition'" -a 'help list save show'
complete -c hacli -n "__hacli_knows 'ra'" -a 'classes help info lint list providers validate'
complete -c hacli -n "__hacli_knows 'import'" -a 'corosync heartbeat help'
complete -c hacli -n "__hacli_knows 'cib'" -a 'cibstatus commit delete diff export help history import list new orphans recover reset run sandbox use version'
complete -c hacli -n "__hacli_knows 'cib cibstatus'" -a 'help load node op origin quorum run save show simulate ticket'
complete -c hacli -n "__hacli_knows 'history'" -a 'config detail diff events exclude graph help info latest limit log node refresh resource session setnodes show source transition wdiff'
complete -c hacli -n "__hacli_knows 'script'" -a 'help json list run show verify'
complete -c hacli -n "__hacli_knows 'site'" -a 'help ticket'
complete -c hacli -n "__hacli_knows 'options'" -a 'help reset save set show'
complete -c hacli -n "__hacli_knows 'cibstatus'" -a 'help load node op origin quorum run save show simulate ticket'
complete -c hacli -n "__hacli_knows 'corosync'" -a 'add-node del-node diff edit get help link log pull push reload set show status'
function __hacli_asks
    set -l before (__hacli_before)
    string match -q -- '-*' (commandline -ct); or not contains -- "$before" '' 'configure' 'configure assist' 'resource' 'node' 'fence' 'maintenance' 'cluster' 'transition' 'ra' 'import' 'cib' 'cib cibstatus' 'history' 'script' 'site' 'options' 'cibstatus' 'corosync'
end
complete -c hacli -n __hacli_asks -a "(__hacli_rest)"
