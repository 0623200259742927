# Stands for Homebrew: reads a formula, runs its blocks without doing anything, and tells what it says as JSON.
# As Homebrew does, it knows no other words than those of its language for formulae.
require "json"
require "pathname"

SAID = { "depends_on" => [], "resources" => [], "order" => [], "service" => {}, "ran" => [] }

module Language
  module Python
    module Virtualenv
      def virtualenv_install_with_resources
        SAID["ran"] << "virtualenv_install_with_resources"
      end
    end
  end
end

class Resource
  def initialize(name)
    @said = { "name" => name }
    SAID["resources"] << @said
  end

  def url(text) = @said["url"] = text
  def sha256(text) = @said["sha256"] = text
end

class Service
  def initialize(formula) = @formula = formula
  def run(command) = SAID["service"]["run"] = command.map(&:to_s)
  def keep_alive(value) = SAID["service"]["keep_alive"] = value
  def log_path(path) = SAID["service"]["log_path"] = path.to_s
  def error_log_path(path) = SAID["service"]["error_log_path"] = path.to_s
  def opt_bin = @formula.bin
  def var = @formula.var
end

class Formula
  class << self
    %w[desc homepage url sha256 license].each do |word|
      define_method(word) do |text|
        SAID["order"] << word
        SAID[word] = text
      end
    end

    def depends_on(name)
      SAID["order"] << "depends_on"
      SAID["depends_on"] << name
    end

    def resource(name, &block)
      SAID["order"] << "resource"
      Resource.new(name).instance_eval(&block)
    end

    def service(&block)
      SAID["order"] << "service"
      @service = block
    end

    def test(&block)
      SAID["order"] << "test"
      @test = block
    end

    def method_added(name)
      SAID["order"] << name.to_s if $reading
    end

    def blocks = [@service, @test]

    def inherited(formula)
      super
      SAID["class"] = formula.name
      @formula = formula
    end

    attr_reader :formula
  end
end

$reading = true
require File.expand_path(ARGV[0])
$reading = false

class Formula
  def bin = Pathname("/opt/homebrew/opt/waystation/bin")
  def var = Pathname("/opt/homebrew/var")
  def version = "VERSION"
  def system(*command) = SAID["ran"] << command.join(" ")
  def assert_match(expected, found) = SAID["ran"] << "#{expected} in #{found}"

  def shell_output(command)
    SAID["ran"] << command
    "what it told"
  end
end

formula = Formula.formula
made = formula.new
made.install
SAID["caveats"] = made.caveats
service, test = formula.blocks
Service.new(made).instance_eval(&service)
made.instance_eval(&test)
puts JSON.generate(SAID)
