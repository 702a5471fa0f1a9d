# Prints what there is, for the library to judge.
fact old_major "$old_major"
fact new_entries "$(find "$NEW_DATA" -mindepth 1 -maxdepth 1 | wc -l)"
[[ -x "$new_bin/pg_upgrade" ]] && fact new_binaries yes
[[ -n "$old_major" && -x "$old_bin/postgres" ]] || exit 0
fact old_binaries yes
! grep --quiet pg_attver "$new_bin/postgres" || fact knows_stamps yes
fact state "$(control 'Database cluster state')"
fact used "$(du --summarize --block-size=1 "$OLD_DATA" | cut -f 1)"
fact free "$(df --output=avail --block-size=1 "$NEW_DATA" | tail -n 1 | tr -d ' ')"
for control in /usr/share/postgresql/"$NEW_MAJOR"/extension/*.control; do
    printf '@available\t%s\n' "$(basename "$control" .control)"
done
[[ $(control 'Database cluster state') == 'shut down' ]] || exit 0

inventory() {
    local database
    "$old_bin/psql" --no-psqlrc --tuples-only --no-align --dbname=template1 \
        --command='select datname from pg_database where datallowconn' |
        while read -r database; do
            "$old_bin/psql" --no-psqlrc --tuples-only --no-align --field-separator=$'\t' \
                --dbname="$database" --command="$INVENTORY" | sed "s/^/@row\t/" || exit 1
        done
}
serve "$old_bin" "$OLD_DATA" inventory
