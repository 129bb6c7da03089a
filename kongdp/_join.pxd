cpdef bytes join(tuple pieces)
