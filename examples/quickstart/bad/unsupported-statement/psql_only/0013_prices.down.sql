truncate lines;
