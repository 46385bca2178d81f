"""What the appliance does beside what others do, in the same run: `make bench`. Nothing here is part of the product or its tests."""
