drop trigger keep_rows on lines;
drop trigger keep_rows on orders;
