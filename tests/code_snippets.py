"""Small programs in every language that the code tagger knows, and texts that are none, written for these tests."""

from __future__ import annotations

SNIPPETS = [
    ("python", "import os\n\n\ndef walk(root, depth=0):\n    for name in os.listdir(root):\n        print(depth * ' ' + name)\n\n\nwalk('.')\n"),
    ("python", "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n        self.items.append(item)\n        return None\n"),
    ("javascript", "const fs = require('fs');\n\nfunction lines(path) {\n  const text = fs.readFileSync(path, 'utf8');\n  return text.split('\\n');\n}\n\nmodule.exports = lines;\nconsole.log(lines('a.txt'));\n"),
    ("javascript", "import { sum } from './math.js';\n\nexport function mean(values) {\n  let total = sum(values);\n  return values.length === 0 ? 0 : total / values.length;\n}\n"),
    ("typescript", "interface Point {\n  x: number;\n  y?: number;\n}\n\nexport function norm(point: Point, scale: number = 1): number {\n  const x: number = point.x * scale;\n  return Math.sqrt(x * x);\n}\n"),
    ("typescript", "export type Visitor<T> = (value: T) => void;\n\nexport class Bag<T> {\n  private items: T[] = [];\n\n  each(visit: Visitor<T>): void {\n    this.items.forEach(visit);\n  }\n}\n"),
    ("java", "package org.example;\n\nimport java.util.List;\n\npublic class Mean {\n    public static double of(List<Double> values) {\n        double total = 0;\n        for (double v : values) total += v;\n        return total / values.size();\n    }\n}\n"),
    ("c", "#include <stdio.h>\n\nstatic int square(int n) { return n * n; }\n\nint main(void) {\n    int total = 0;\n    for (int i = 0; i < 10; i++) total += square(i);\n    printf(\"%d\\n\", total);\n    return 0;\n}\n"),
    ("c", "typedef struct node {\n    struct node *next;\n    char *key;\n} node;\n\nvoid drop(node *list) {\n    while (list) {\n        node *next = list->next;\n        free(list);\n        list = next;\n    }\n}\n"),
    ("cpp", "#include <iostream>\n#include <vector>\n\ntemplate <typename T>\nT total(const std::vector<T>& values) {\n    T sum = 0;\n    for (const auto& v : values) sum += v;\n    return sum;\n}\n\nint main() { std::cout << total(std::vector<int>{1, 2}) << '\\n'; }\n"),
    ("cpp", "namespace shapes {\nclass Circle : public Shape {\npublic:\n    explicit Circle(double r) : r_(r) {}\n    double area() const override { return 3.14 * r_ * r_; }\nprivate:\n    double r_;\n};\n}\n"),
    ("c_sharp", "using System;\nusing System.Collections.Generic;\n\nnamespace Example\n{\n    public class Person\n    {\n        public string Name { get; set; }\n        public void Greet() { Console.WriteLine($\"Hello {Name}\"); }\n    }\n}\n"),
    ("c_sharp", "int Twice(int n)\n{\n    return n * 2;\n}\n\nvar total = 0;\nforeach (var n in new[] { 1, 2 })\n{\n    total = total + Twice(n);\n}\nConsole.WriteLine(total);\n"),
    ("go", "package main\n\nimport \"fmt\"\n\nfunc add(a int, b int) int {\n\treturn a + b\n}\n\nfunc main() {\n\tvar x int = 1\n\ty := add(x, 2)\n\tfmt.Println(y)\n}\n"),
    ("go", "package store\n\ntype Item struct {\n\tKey string\n}\n\nfunc (s *Store) Get(key string) (*Item, error) {\n\titem, err := s.find(key)\n\tif err != nil {\n\t\treturn nil, err\n\t}\n\treturn item, nil\n}\n"),
    ("ruby", "require 'set'\n\nclass Basket\n  attr_reader :items\n\n  def initialize(items)\n    @items = items\n  end\n\n  def each_name\n    @items.each do |item|\n      puts \"#{item.name}\"\n    end\n  end\nend\n"),
    ("php", "<?php\n\nfunction greet($name) {\n    $text = 'Hello ' . $name;\n    return $text;\n}\n\necho greet('you');\n"),
    ("php", "<?php\nnamespace App\\Model;\n\nclass User\n{\n    private $name;\n\n    public function getName()\n    {\n        return $this->name;\n    }\n}\n"),
    ("rust", "use std::collections::HashMap;\n\nfn count(words: &[String]) -> HashMap<String, usize> {\n    let mut found = HashMap::new();\n    for word in words {\n        *found.entry(word.clone()).or_insert(0) += 1;\n    }\n    found\n}\n\nfn main() {\n    let words = vec![];\n    println!(\"{}\", count(&words).len());\n}\n"),
    ("rust", "pub struct Point {\n    x: f64,\n}\n\nimpl Point {\n    pub fn new(x: f64) -> Self {\n        Point { x }\n    }\n}\n"),
    ("kotlin", "package org.example\n\ndata class Point(val x: Int, val y: Int)\n\nfun norm(p: Point): Int {\n    val total = p.x + p.y\n    return total\n}\n\nfun main() {\n    println(norm(Point(1, 2)))\n}\n"),
    ("kotlin", "class Cache : Store {\n    private val items = mutableMapOf<String, Int>()\n\n    override fun get(key: String): Int? = items[key]\n\n    companion object {\n        const val SIZE = 10\n    }\n}\n"),
    ("scala", "package org.example\n\nimport scala.collection.mutable._\n\nobject Main extends App {\n  def twice(n: Int): Int = n * 2\n  val values = List(1, 2).map(twice)\n  println(twice(3))\n}\n"),
    ("scala", "sealed trait Tree\ncase class Leaf(value: Int) extends Tree\ncase class Node(left: Tree, right: Tree) extends Tree\n\nobject Tree {\n  def sum(tree: Tree): Int = tree match {\n    case Leaf(v) => v\n    case Node(l, r) => sum(l) + sum(r)\n  }\n}\n"),
]  # fmt: skip

PROSE = [
    "However, the committee met on 14 March and agreed what it would do next. Nobody from the import trade was there.",
    "Ingredients: 2 cups of flour, 1 egg. Mix well; let it rest for an hour, then bake at 180 degrees.",
    "Q: What is the capital of France?\nA: Paris.\n\nQ: And of Spain?\nA: Madrid.",
    "",
]

NO_LANGUAGE_OF_OURS = {
    "shell": "set -e\nname=$1\nif [ -z \"$name\" ]; then\n  echo 'a name'\n  exit 1\nfi\nfor f in *.txt; do\n  echo \"$f\" && total=$((total + 1))\ndone\necho \"$total\"\n",
    "shell script": "#!/bin/bash\nimport os\nfrom os import path\n",
    "json": '{\n  "import": ["os", "sys"],\n  "const x": 1,\n  "function": "f(x) { return x; }"\n}\n',
    "yaml": "name: build\non: [push]\ninputs:\n  label:\n    type: string\n    required: true\n  count:\n    type: number\n  dry:\n    type: boolean\nsteps:\n  - run: make\n  - run: make test\n",
    "html": "<!DOCTYPE html>\n<html><head><script>\nvar x = document.title;\nvar y = window.name;\nconsole.log(x === y);\n</script></head></html>\n",
    "svg": "<svg xmlns='http://www.w3.org/2000/svg'><script>var a = 1; var b = 2; var c = 3;</script></svg>\n",
    "css": "body { color: #fff; margin: 0 }\n.import:hover > a { background: url(a.png); }\n@media print { .menu { display: none } }\n",
    "sql": "CREATE TABLE item (id int, name varchar(20));\nINSERT INTO item VALUES (1, 'a');\nSELECT name FROM item WHERE id = 1;\n",
    "markdown": "# Read me\n\nInstall it first, and then import it from your own program:\n\n```python\nfrom walker import walk\nimport os\n```\n\nIt walks, and that is all there is to say. Why would one want more?\n",
    "markdown on php": "# Greeting\n\nPut this in a file, and open it:\n\n```php\n<?php\n$name = 'you';\necho $name;\n```\n\nThat is it.\n",
    "log": "2024-01-02 10:11:12 INFO start: loading 3 files\n2024-01-02 10:11:13 WARN main.go:12: import of a.b failed (code: 3)\n2024-01-02 10:11:14 INFO end\n",
    "latex": "\\documentclass{article}\n\\begin{document}\nLet $x = 1$ and $y = x$, so that $x := y$ for all $z$.\n\\end{document}\n",
    "makefile": "CC := gcc\nFLAGS := -O2\nSRC := $(wildcard *.c)\nOBJ := $(SRC:.c=.o)\n\nall: $(OBJ)\n\t$(CC) -o main $(OBJ)\n",
    "protobuf": 'syntax = "proto3";\n\npackage store;\n\nimport "a.proto";\n\nmessage Item {\n  string key = 1;\n  int32 count = 2;\n}\n',
    "patch": "--- a/walk.py\n+++ b/walk.py\n@@ -1,3 +1,3 @@\n import os\n \n-def walk(root):\n+def walk(root, depth=0):\n     print(root)\n",
    "vim": "let s:name = 'a'\nfunction! s:Walk(root) abort\n  let l:n = 1\n  return a:root . l:n\nendfunction\n",
    "swift": "import Foundation\n\nstruct Point {\n    let x: Int\n    func norm(scale: Int) -> Int { return x * scale }\n}\n",
    "perl": "use strict;\nmy $total = 0;\nmy @names = map { $_->name } @items;\nforeach my $n (@names) { $total += length($n); }\nprint $total;\n",
    "lua": "local function walk(root)\n  for k, v in pairs(root) do\n    print(k, v)\n  end\nend\n\nreturn walk\n",
    "haskell": "module Main where\n\nimport Data.List\n\nmain :: IO ()\nmain = mapM_ print (sort [3, 1, 2])\n",
    "assembler": "#include <asm/linkage.h>\n#define SIZE 8\n\t.text\n\t.globl start\nstart:\n\tmovl %eax, SIZE(%esp)\n\tret\n",
}  # fmt: skip
"""Texts by what they are; each has what some language of ours has too."""

LICENCE = (
    "/*\n"
    + " * You may use this for anything, and import it from where you like; class it as you want:\n" * 60
    + " */\n"
)
"""More than is looked at for a language."""
