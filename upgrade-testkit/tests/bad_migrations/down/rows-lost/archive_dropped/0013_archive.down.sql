drop table archived_lines;
