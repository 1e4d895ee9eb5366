
©
5{app="web", host="h1", level="warning", path="/a\"b"}[
€âÏª”šï:one,
trace_id 0AF7651916CD43DD8448EB211C80319C
appother
bad_idx
€âÏª•šï:two


{}
€âÏª•šï: