# bash completion for entra-mdmctl

_entra_mdmctl()
{
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    local commands="get add remove generate-gitops gitops sync-fleet explain"
    local all="--url --user --password-file --cert --key --cacert --unix-socket
        --allow-http --timeout --quiet --help --version"
    local changes="--dry-run --exit-code"
    local policy="--jwks --client-id --tenant-id --server-url --from-api
        --cloud --issuer --scope --leeway --now --require-upn --device-token
        --max-token --max-body"
    local command= name

    COMPREPLY=()

    case $before in
    -f | --file | --password-file | --cert | --key | --cacert | --jwks | \
    --unix-socket | --fleet-token-file | --fleet-cacert)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    --cloud)
        mapfile -t COMPREPLY < <(compgen -W "public usgov china" -- "$word")
        return
        ;;
    --device-token)
        mapfile -t COMPREPLY < <(compgen -W "deny pass" -- "$word")
        return
        ;;
    --url | --user | --timeout | --fleet | --client-id | --tenant-id | \
    --server-url | --issuer | --scope | --leeway | --now | --max-token | \
    --max-body)
        return
        ;;
    esac

    for name in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case " $commands " in
        *" $name "*) command=$name; break ;;
        esac
    done

    case $command in
    "")          all="$commands $all" ;;
    get)         all="client-ids tenant-ids --json $all" ;;
    add|remove)  all="client-id tenant-id $all" ;;
    gitops)      all="-f --file $changes $all" ;;
    sync-fleet)  all="--fleet --fleet-token-file --fleet-cacert $changes $all" ;;
    explain)     all="$policy $all" ;;
    esac

    mapfile -t COMPREPLY < <(compgen -W "$all" -- "$word")

    if [ "$command" = explain ] && [ "${word#-}" = "$word" ]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}

complete -F _entra_mdmctl entra-mdmctl
