drop table reporting.monthly;
drop schema reporting;
