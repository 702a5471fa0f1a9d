# Makes the new cluster in the empty volume; empties it again if that fails.
give_up() {
    find "$NEW_DATA" -name '*.log' -o -name '*.txt' | sort | while read -r file; do
        [[ ! -s "$file" ]] || { echo "== ${file#"$NEW_DATA"/}"; tail -n 15 "$file"; }
    done
    find "$NEW_DATA" -mindepth 1 -delete
}
trap give_up ERR
set -E

declare -a options=(--username="$PGUSER" --pgdata="$NEW_DATA")
if [[ $(control 'Data page checksum version') != 0 ]]; then
    options+=(--data-checksums)
elif [[ $NEW_MAJOR -ge 18 ]]; then
    options+=(--no-data-checksums)
fi
"$new_bin/initdb" "${options[@]}" >/dev/null

declare -a upgrade=("$new_bin/pg_upgrade" --username="$PGUSER" --socketdir="$work"
    --old-bindir="$old_bin" --new-bindir="$new_bin"
    --old-datadir="$OLD_DATA" --new-datadir="$NEW_DATA" --jobs="$(nproc)")
"${upgrade[@]}" --check
"${upgrade[@]}"
# Who may log in from where is as before.
cp "$OLD_DATA/pg_hba.conf" "$OLD_DATA/pg_ident.conf" "$NEW_DATA/"

finish() {
    "$new_bin/vacuumdb" --all --analyze-only --quiet &&
        "$new_bin/psql" --no-psqlrc --tuples-only --no-align --dbname=template1 --command="
        select '@reindex' || chr(9) || datname from pg_database
        where datallowconn and datcollversion <> pg_database_collation_actual_version(oid)"
}
serve "$new_bin" "$NEW_DATA" finish
