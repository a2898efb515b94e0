"""Small programs in every language that the code tagger knows, written for these tests: language, text."""

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
