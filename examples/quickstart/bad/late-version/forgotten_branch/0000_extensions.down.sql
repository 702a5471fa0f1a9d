drop schema reporting;
