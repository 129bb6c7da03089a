cpdef list find_values(bytes head, bytes name)
