"""Run statements without executing them: where a test is not decided, both of its sides. Pure."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from antscache.catalog.functions.calls import Calls
from antscache.catalog.functions.evaluation import MAX_ITEMS, calculate
from antscache.catalog.functions.program import Module, function_imports
from antscache.catalog.functions.state import Ended, Frame, State, joined
from antscache.catalog.functions.symbols import UNKNOWN, LocalFunction, Sequence, Value, alternatives, lift

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from antscache.catalog.functions.program import Program

MAX_PASSES = 3  # of a loop for any item, until what it changes counts as unknown


class Statements(Calls):
    """Runs statements. A method takes the state before a statement, and returns the one behind it, or None for none."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self._runners: dict[type[ast.stmt], Callable[[Any, State, Frame], State | None]] = {
            ast.AnnAssign: self._assign_one,
            ast.Assign: self._assign_all,
            ast.AsyncFunctionDef: self._define,
            ast.AugAssign: self._change,
            ast.Break: self._break,
            ast.Continue: self._continue,
            ast.Expr: self._expression,
            ast.For: self._for,
            ast.FunctionDef: self._define,
            ast.If: self._if,
            ast.Import: self._import,
            ast.ImportFrom: self._import,
            ast.Raise: self._raise,
            ast.Return: self._return,
            ast.Try: self._try,
            ast.While: self._while,
            ast.With: self._with,
        }

    def block(self, statements: Iterable[ast.stmt], state: State, frame: Frame) -> State | None:
        """Run `statements`; return the state behind them, or None if nothing comes there."""
        current: State | None = state
        for statement in statements:
            if current is None:
                return None
            self.count_step()
            if frame.caught:
                frame.caught = joined([frame.caught, current.copy()])
            runner = self._runners.get(type(statement), self._any)
            try:
                current = runner(statement, current, frame)
            except Ended:
                return None
        return current

    def _expression(self, node: ast.Expr, state: State, frame: Frame) -> State:
        self.evaluate(node.value, state, frame)
        return state

    def _any(self, node: ast.AST, state: State, frame: Frame) -> State:
        """Run a statement of a form that gets no further attention, for what its expressions ask for."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.evaluate_perhaps(child, state, frame)
            else:
                self._any(child, state, frame)
        return state

    # Names

    def _assign_all(self, node: ast.Assign, state: State, frame: Frame) -> State:
        value = self.evaluate(node.value, state, frame)
        for target in node.targets:
            self.assign(target, value, state, frame)
        return state

    def _assign_one(self, node: ast.AnnAssign, state: State, frame: Frame) -> State:
        if node.value:
            self.assign(node.target, self.evaluate(node.value, state, frame), state, frame)
        return state

    def _change(self, node: ast.AugAssign, state: State, frame: Frame) -> State:
        left = self.evaluate(node.target, state, frame) if isinstance(node.target, ast.Name) else UNKNOWN
        value = lift(calculate, left, node.op, self.evaluate(node.value, state, frame))
        self.assign(node.target, value, state, frame)
        return state

    def _define(self, node: ast.FunctionDef, state: State, frame: Frame) -> State:
        state.names[node.name] = LocalFunction(frame.module, node, state.names, frame)
        self.call_unseen(state.names[node.name], frame)
        return state

    def _import(self, node: ast.Import | ast.ImportFrom, state: State, frame: Frame) -> State:
        for name, (module, original) in function_imports(node, frame.module).items():
            found = Module(module) if original is None else self.program.resolve(module, original)
            state.names[name] = self.as_value(found, module)
        return state

    # Ends

    def _return(self, node: ast.Return, state: State, frame: Frame) -> None:
        if node.value:
            self.evaluate(node.value, state, frame)
        frame.returns = True

    def _raise(self, node: ast.Raise, state: State, frame: Frame) -> None:
        for each in (node.exc, node.cause):
            if each:
                self.evaluate(each, state, frame)

    def _break(self, _: ast.Break, state: State, frame: Frame) -> None:
        frame.broken.append(state)

    def _continue(self, _: ast.Continue, state: State, frame: Frame) -> None:
        frame.continued.append(state)

    # Branches

    def _if(self, node: ast.If, state: State, frame: Frame) -> State | None:
        verdict = self.test(node.test, state, frame)
        if verdict.value is not None:
            return self.block(node.body if verdict.value else node.orelse, state, frame)
        sides = ((node.body, verdict.if_true), (node.orelse, verdict.if_false))
        return joined([self.block(body, state.with_facts(facts), frame) for body, facts in sides])

    def _with(self, node: ast.With, state: State, frame: Frame) -> State | None:
        for item in node.items:
            value = self.evaluate(item.context_expr, state, frame)
            if item.optional_vars:
                self.assign(item.optional_vars, value, state, frame)
        return self.block(node.body, state, frame)

    def _try(self, node: ast.Try, state: State, frame: Frame) -> State | None:
        outer, frame.caught = frame.caught, state.copy()
        after = self.block(node.body, state, frame)
        left = joined([frame.caught, after and after.copy()]) or state
        frame.caught = joined([outer, left]) if outer else None
        after = self.block(node.orelse, after, frame) if after else None
        caught = [self.block(handler.body, left.copy(), frame) for handler in node.handlers]
        end = joined([after, *caught])
        if end is None:
            self.block(node.finalbody, left.copy(), frame)
            return None
        return self.block(node.finalbody, end, frame)

    # Loops

    def _for(self, node: ast.For, state: State, frame: Frame) -> State | None:
        iterables = alternatives(self.evaluate(node.iter, state, frame))
        end = joined([self._for_each(node, each, state.copy(), frame) for each in iterables])
        return self.block(node.orelse, end, frame) if end else None

    def _for_each(self, node: ast.For, iterable: Value, state: State, frame: Frame) -> State | None:
        """Run a loop that asks for entries for each item of `iterable`; others, and for unknown items, for any item."""
        items = iterable.items if isinstance(iterable, Sequence) and self.program.may_ask(node) else None
        if items is None or len(items) > MAX_ITEMS:

            def once(each: State) -> State | None:
                self.assign(node.target, UNKNOWN, each, frame)
                return self.block(node.body, each, frame)

            return self._repeat(once, state, frame)
        outer, frame.broken, frame.continued = (frame.broken, frame.continued), [], []
        current: State | None = state
        for item in items:
            if current is not None:
                frame.continued = []
                self.assign(node.target, item, current, frame)
                current = joined([self.block(node.body, current, frame), *frame.continued])
        end = joined([current, *frame.broken])
        frame.broken, frame.continued = outer
        return end

    def _while(self, node: ast.While, state: State, frame: Frame) -> State | None:
        if self.test(node.test, state, frame).value is False:
            return self.block(node.orelse, state, frame)

        def once(each: State) -> State | None:
            self.evaluate(node.test, each, frame)
            return self.block(node.body, each, frame)

        after = self._repeat(once, state, frame)
        return self.block(node.orelse, after, frame) if after else None

    def _repeat(self, once: Callable[[State], State | None], state: State, frame: Frame) -> State | None:
        """Run a loop's body any number of times; names that keep changing become unknown."""
        outer, frame.broken, frame.continued = (frame.broken, frame.continued), [], []
        for _ in range(MAX_PASSES):
            after = joined([state, once(state.copy()), *frame.continued]) or state
            if after.names == state.names:
                break
            state = after
        else:
            after = joined([state, once(state.copy()), *frame.continued]) or state
            same = {name for name, value in after.names.items() if state.names.get(name) == value}
            names = {name: value if name in same else UNKNOWN for name, value in after.names.items()}
            state = State(names, after.facts)
            once(state.copy())
        end = joined([state, *frame.broken])
        frame.broken, frame.continued = outer
        return end
